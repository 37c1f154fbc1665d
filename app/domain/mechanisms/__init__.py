"""What is run, as frozen facts: the kinds, their wire form, and the same for a group."""
