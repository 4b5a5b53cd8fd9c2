"""Review: which labels to ask a person for, the page that asks, and what becomes of the answers."""
