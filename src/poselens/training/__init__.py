"""One loop for both branches: objective, optimiser, schedule, resume."""
