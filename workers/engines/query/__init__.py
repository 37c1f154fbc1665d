"""The query engine: a bounded table of exact integers, discrete noise, released rows."""
