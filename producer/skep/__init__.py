"""skep: durable Python sessions as a job queue."""
