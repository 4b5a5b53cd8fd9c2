"""Suites: many methods under one protocol, and the table they come to."""
