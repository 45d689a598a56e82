"""What can be said of a plan: where its time goes, who waits for whom, and what every bank does."""
