"""Private gradients of a whole model: `privatize` replaces what its layers' backward pass gives."""
