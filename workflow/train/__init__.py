"""One training: the loop, and the state that resumes it."""
