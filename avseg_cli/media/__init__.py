"""Files of video and sound: read, looked into, and written."""
