"""RabbitMQ: the durable mailbox. The only package that imports aio_pika."""
