"""The compiled form: plain C++ behind a C door, one text for every instruction set."""
