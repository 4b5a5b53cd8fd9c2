"""`run.py bench`: this project beside a plain baseline, stage by stage, in one run on one machine."""
