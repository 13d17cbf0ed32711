"""The application without a window: state, commands, jobs, settings, results."""
