"""What is true of jobs, whoever stores or runs them. Pure: pydantic and the standard library.

The invariants, by the names that tests use:

I1  A 202 (or a confirm over AMQP) means that RabbitMQ holds the job durably.
I2  One id, one job: redelivered, retried or raced, it is stored once, and never born again.
I3  An attempt ends exactly once: by inserting its execution; the first insert stands.
I4  The job document follows from its executions alone; anyone may settle it.
I5  `attempt` only grows; a write about an attempt names it, so a late one changes nothing.
I6  Every job that is not final is found again: by dispatcher, lease, reaper or reconciler.
I7  No attempt starts before `due_at`, by Redis's clock and again by MongoDB's condition.
I8  Final states are left only by redrive.
I9  Failures drive retries, losses drive poison, releases drive nothing.
I10 Redis may be lost wholly at any moment; nothing but time is lost with it.
"""
