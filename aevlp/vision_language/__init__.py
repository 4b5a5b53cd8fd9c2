"""Frozen vision-language models: views, encoders, prompts and the label graph."""
