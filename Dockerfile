# avseg in a container, with its model:
#   docker build -t avseg .                                 for processors only
#   docker build -t avseg:cuda --build-arg TORCH=cu128 .    for NVIDIA GPUs; any backend that uv knows
#   docker run --rm -u "$(id -u):$(id -g)" -v "$PWD:/data" avseg segment clip.mp4
#   docker run --rm --gpus all -u "$(id -u):$(id -g)" -v "$PWD:/data" avseg:cuda segment clip.mp4
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
ARG TORCH=cpu
ARG EXTRAS=remote
ENV UV_NO_CACHE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/opt/avseg
RUN pip install --no-cache-dir "uv>=0.7,<1" && uv venv /opt/avseg
# torch in a layer of its own, which a change of avseg does not build again
RUN uv pip install --torch-backend "$TORCH" "torch>=2.6"
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY weights weights
COPY avseg_cli avseg_cli
RUN uv pip install ".[$EXTRAS]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/avseg /opt/avseg
# the home is for whoever the container runs as: caches go there
RUN useradd --uid 1000 --home-dir /home/avseg avseg && mkdir -m 1777 /home/avseg /data
ENV PATH=/opt/avseg/bin:$PATH HOME=/home/avseg
USER 1000
WORKDIR /data
ENTRYPOINT ["avseg"]
CMD ["--help"]
