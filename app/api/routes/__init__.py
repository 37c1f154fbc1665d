"""One file a noun; each route says who may ask, what it takes and how it may refuse."""
