"""The computer around the program: files that are saved whole, resources, child processes."""
