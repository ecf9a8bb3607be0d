"""The server: the application, HTTP/1.1 under limits, admission by host, and the services of a process."""
