"""What the commands do; one function a command, bound by `@handles`."""
