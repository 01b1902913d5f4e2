"""The door: HTTP in, RabbitMQ out. It stores nothing and answers 202 only after the confirm."""
