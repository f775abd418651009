"""The Optuna study of a search, in a storage that processes and machines can share."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import sleep

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nnunet_mamba.messages import first_line

JOURNAL = ".log"
SECONDS_BETWEEN_HEARTBEATS = 60
SECONDS_FOR_A_LOCK = 60  # SQLite's: one process at a time may write
ATTEMPTS = 5


def open_storage(storage: str) -> BaseStorage:
    """Opens a database by its URL, or a journal by its file name, which ends in .log.

    URLs start with sqlite:///, postgresql:// (needs psycopg), mysql+pymysql:// (needs PyMySQL) and so on. SQLite is for
    one machine; a journal on a shared disk serves many machines without a database server.

    Raises:
        ValueError: it cannot be opened, with the reason.
    """
    from sqlalchemy.exc import SQLAlchemyError

    transient = (SQLAlchemyError, optuna.exceptions.OptunaError)
    attempts = 1
    while True:
        try:
            return _open(storage)
        except (*transient, OSError, ImportError, ValueError) as error:
            if isinstance(error, transient) and attempts < ATTEMPTS:
                attempts += 1
                sleep(0.3)  # processes that start together create the same tables, and all but one fail
                continue
            # an ImportError's cause names the missing driver
            reason = error.__cause__ if isinstance(error, ImportError) and error.__cause__ else error
            raise ValueError(
                f"storage: {without_password(storage)!r} cannot be opened ({first_line(reason)}). Wanted a URL such as "
                "sqlite:////a/folder/search.db or postgresql://user:password@host/database, or a journal file such as "
                "/shared/search.log. Its folder must exist and be writable; a database needs its Python driver"
            ) from error


def _open(storage: str) -> BaseStorage:
    if "://" not in storage:
        if not storage.endswith(JOURNAL):
            raise ValueError("neither a URL nor a file name that ends in .log")
        return JournalStorage(JournalFileBackend(storage))
    options = {"connect_args": {"timeout": SECONDS_FOR_A_LOCK}} if storage.startswith("sqlite") else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return RDBStorage(storage, engine_kwargs=options, heartbeat_interval=SECONDS_BETWEEN_HEARTBEATS)


def without_password(storage: str) -> str:
    """`storage` with *** instead of a password."""
    return re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", storage)


@contextmanager
def explain_lost_storage() -> Iterator[None]:
    """Explains the loss of the storage during a search: a server that stopped, a full disk.

    Raises:
        RuntimeError: the storage was lost.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Exception as error:
        # Optuna's clean-up then fails too: the reason is somewhere in the chain of causes
        reason: BaseException | None = error
        while reason is not None and not isinstance(reason, SQLAlchemyError | OSError):
            reason = reason.__cause__ or reason.__context__
        if reason is None:
            raise
        raise RuntimeError(
            f"storage: it was lost during the search ({first_line(reason)}). It still has the evaluated candidates. "
            "Make it reachable and writable, then run the same command again: the search resumes"
        ) from error


def open_study(storage: BaseStorage, name: str, facts: Mapping[str, object]) -> optuna.Study:
    """The study `name`, new or resumed.

    Args:
        facts: JSON values that must be the same when the study is resumed.
    Raises:
        ValueError: the study was started with other facts; names the differences.
    """
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    before = study.user_attrs
    differences = [
        f"{key} was {before[key]!r} and is now {value!r}"
        for key, value in facts.items()
        if key in before and before[key] != value
    ]
    if differences:
        raise ValueError(
            f"storage: the search '{name}' in it was started with other settings ({'; '.join(differences)}). "
            "Use the same settings, or another storage"
        )
    for key, value in facts.items():
        study.set_user_attr(key, value)
    return study


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that were evaluated, including failed ones, but not those whose process died."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state == TrialState.COMPLETE or "error" in trial.user_attrs]
