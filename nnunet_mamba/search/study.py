"""The Optuna study of a search, in a storage that several processes and machines can share."""

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import sleep

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

JOURNAL = ".log"
SECONDS_BETWEEN_HEARTBEATS = 60
SECONDS_FOR_A_LOCK = 60  # SQLite's, which one process at a time holds
ATTEMPTS = 5


def open_storage(storage: str) -> BaseStorage:
    """A database by its URL (sqlite:///, postgresql://, mysql+pymysql:// ...), or a journal by its file name, which ends in .log.

    A journal on a shared disk serves many machines without a database server; SQLite is for one machine. A server's Python driver
    (psycopg for postgresql://, PyMySQL for mysql+pymysql://) is installed beside this package.

    Raises:
        ValueError: it cannot be opened, with the reason.
    """
    from sqlalchemy.exc import SQLAlchemyError

    for left in reversed(range(ATTEMPTS)):
        try:
            return _open(storage)
        except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError, ImportError, ValueError) as error:
            if left and isinstance(error, (SQLAlchemyError, optuna.exceptions.OptunaError)):
                sleep(0.3)  # processes that start together make the same tables, and all but one fail
                continue
            reason = (
                error.__cause__ if isinstance(error, ImportError) and error.__cause__ else error
            )  # the driver by its name
            raise ValueError(
                f"storage: {without_password(storage)!r} cannot be opened ({_first_line(reason)}). Wanted a URL such as "
                "sqlite:////a/folder/search.db or postgresql://user:password@host/database, or a journal file such as "
                "/shared/search.log, in a folder that exists and can be written, and for a database its Python driver"
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
    """As it may be shown to others: the password of a database's URL is three stars."""
    return re.sub(r"(://[^/@:]*):[^/]*@", r"\1:***@", storage)


@contextmanager
def explained_where_lost() -> Iterator[None]:
    """Where the storage goes away during a search (a server stops, a disk is full), says so and what to do.

    Raises:
        RuntimeError: it went away.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except Exception as error:
        reason = error  # Optuna's own clean-up fails then too, with errors that have the reason somewhere behind them
        while reason is not None and not isinstance(reason, SQLAlchemyError | OSError):
            reason = reason.__cause__ or reason.__context__
        if reason is None:
            raise
        raise RuntimeError(
            f"storage: it was lost during the search ({_first_line(reason)}). The candidates evaluated before are kept in it: "
            "once it can be reached and written again, the same command goes on"
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def open_study(storage: BaseStorage, name: str, facts: Mapping[str, object]) -> optuna.Study:
    """The study `name`, new or as it was left.

    Args:
        facts: what must be the same whenever the study goes on, in values that JSON has.
    Raises:
        ValueError: it was begun with other facts, with the differences.
    """
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    began = study.user_attrs
    differences = [
        f"{key} was {began[key]!r} and is {value!r}"
        for key, value in facts.items()
        if key in began and began[key] != value
    ]
    if differences:
        raise ValueError(
            f"storage: the search '{name}' in it was begun otherwise ({'; '.join(differences)}). Go on as it was begun, or begin "
            "anew in another storage"
        )
    for key, value in facts.items():
        study.set_user_attr(key, value)
    return study


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """The trials that were evaluated, failed ones too; not those whose process died."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state == TrialState.COMPLETE or "error" in trial.user_attrs]
