"""What commands say as data, for scripts and files. It knows the solver, and nothing of how answers look."""
