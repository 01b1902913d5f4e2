"""DueQ, the flow of a job on one screen.

    POST /api/jobs ──▶ gateway ──┐                        (R1: 202 after RabbitMQ's confirm)
                                 ▼
    AMQP publish ───▶ exchange dueq.jobs ─▶ queue dueq.submit
                                 │
                           ingest.py                      (R2, R3: one insert, then the ack)
    `schedules` ─▶ scheduler ────┤                        (R13: the job first, then the schedule)
                                 ▼
                     MongoDB `jobs`: THE TRUTH            (domain/states.py: the whole machine)
                        pending │ queued                  (already due: born queued)
                 dispatcher ────┘    │                    (R4: truth first, index second)
                                     ▼
           Redis, per queue: delayed ─▶ ready ─▶ leased   (queue/lua: each step one atomic script)
                                     │
                          worker: lease ─▶ start          (R5: the start is won in MongoDB)
                                     │
                        run (task, http, amqp, command)   (heartbeat extends the lease, R8)
                                     │
             record ─▶ settle ─▶ ack                      (R6, R7: the execution decides)

What goes wrong on the way is found by loops that any number of watchers run side by side:
the reaper ends what a vanished worker left (R9), the reconciler makes Redis match MongoDB (R10),
the dispatcher ends what expired (R14). Nobody is the leader (R12); Redis may be lost at any moment.

`domain` is pure; `ports` is the table of contents; `broker`, `store` and `queue` are the only ones
to import a driver; `ingest` and `watchers` are the stages, and what people ask for goes through
`operator`, `bulk` and `owner`: all of these talk to ports alone.
The rules R1-R14 and what survives which crash: docs/explanation/protocol.md.
"""
