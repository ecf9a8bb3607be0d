"""The watch over transactions: rules over stored rows, evaluated beside the write path, so that nothing is blocked."""

from tasks.watch.run import TableReport, WatchReport, watch_transactions

__all__ = ["TableReport", "WatchReport", "watch_transactions"]
