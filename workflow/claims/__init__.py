"""The paper's values and claims against ours."""
