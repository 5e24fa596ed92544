"""A search's memory in a database, for one search by several machines."""

from __future__ import annotations

import re
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from .._checks import DidactError

if TYPE_CHECKING:
    import optuna

HEARTBEAT, GRACE = 30, 120
"""Seconds between two signs of life of a trial; after how many without it counts as dead."""
PATIENCE = (0.5, 1.0, 2.0)
"""Seconds to wait before a database is tried again."""


class Memory:
    """An Optuna study that nobody shares and nothing outlives: ``with Memory() as study``."""

    def __init__(self) -> None:
        import optuna

        self.study = optuna.create_study()

    def __enter__(self) -> optuna.Study:
        return self.study

    def __exit__(self, *_: object) -> None:
        """Nothing to let go of."""

    def alone(self) -> AbstractContextManager[object]:
        """Nobody to wait for."""
        return nullcontext()

    def bury(self) -> None:
        """Nobody else's trials to care for."""

    def alive(self, trials: Sequence[optuna.Trial]) -> AbstractContextManager[None]:
        """Nobody to tell."""
        return nullcontext()


class Database(Memory):
    """An Optuna study in SQLite or PostgreSQL.

    Args:
        url: as SQLAlchemy takes it, ``sqlite:///file.db`` or ``postgresql://user@host/database``.
        name: of the study.
        fresh: forget what the database holds of it; else go on with it.

    Raises:
        DidactError: if the database cannot be used.
    """

    def __init__(self, url: str, name: str, *, fresh: bool) -> None:
        import optuna
        from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
        from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError

        self.name = name.encode()
        # SQLAlchemy's default driver is the one before.
        url = re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)
        for patience in (*PATIENCE, None):
            try:
                self.storage = RDBStorage(
                    url,
                    heartbeat_interval=HEARTBEAT,
                    grace_period=GRACE,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
                )
                if fresh and name in optuna.get_all_study_names(self.storage):
                    optuna.delete_study(study_name=name, storage=self.storage)
                self.study = optuna.create_study(
                    storage=self.storage, study_name=name, load_if_exists=True
                )
                return
            except (SQLAlchemyError, ImportError, ValueError) as error:
                # Two that come at once to an empty database both try to make its tables.
                if patience is None or not isinstance(error, IntegrityError | ProgrammingError):
                    raise DidactError(
                        f"The database `{url}` cannot be used: {str(error).splitlines()[0]}"
                    ) from error
                time.sleep(patience)

    def __exit__(self, *_: object) -> None:
        """Let go of all connections."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Between counting trials and asking for one, no other process asks."""
        if self.storage.engine.dialect.name == "postgresql":
            from sqlalchemy import func, select

            with self.storage.engine.begin() as connection:
                connection.execute(select(func.pg_advisory_xact_lock(zlib.crc32(self.name))))
                yield
        else:
            from filelock import FileLock

            with FileLock(f"{self.storage.engine.url.database}.lock"):
                yield

    def bury(self) -> None:
        """Trials whose process died are asked for again."""
        from optuna.storages import fail_stale_trials

        fail_stale_trials(self.study)

    @contextmanager
    def alive(self, trials: Sequence[optuna.Trial]) -> Iterator[None]:
        """Signs of life for trials that run in this process."""
        ended = threading.Event()

        def beat() -> None:
            while True:
                for trial in trials:
                    self.storage.record_heartbeat(trial._trial_id)  # Optuna has no public way
                if ended.wait(HEARTBEAT):
                    return

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
