"""Reading finished runs back: collecting, comparing."""
