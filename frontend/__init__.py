"""The web page's sources, and what builds them."""
