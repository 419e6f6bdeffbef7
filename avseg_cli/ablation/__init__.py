"""The paper's tables of variants, trained and evaluated."""
