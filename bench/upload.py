"""A large upload, and the memory that it takes."""

from bench.accounting import forget_peak, peak_mb, rss_mb
from bench.load import Job
from bench.rounds import Load, Tell
from bench.setting import Setting

MB = 1024 * 1024


def measure_upload(setting: Setting, load: Load, size: int, tell: Tell) -> dict[str, dict[str, list[float]]]:
    """Upload a file of `size` bytes once each way; return the most memory above idle that it took.

    The gateway gets it encrypted by the load generator, and passes it on to the stub: no engine here transcribes.
    """
    ways = {name: (setting.targets[name].programs[0], False) for name in ("nginx", "proxy")}
    ways["gateway"] = (setting.parts["gateway"], True)
    peaks: dict[str, list[float]] = {}
    for name, (program, sealed) in ways.items():
        tell(f"upload of {size // MB} MB: {name}")
        pids = [program.pid]
        forget_peak(pids)
        idle = rss_mb(pids)
        load.run(Job("upload", program.port, 1, 0.01, sealed, size))
        peak = peak_mb(pids)
        if peak is not None:
            peaks[name] = [max(peak - idle, 0.01)]
    return {"upload": peaks, "upload_body": {name: [mb * MB / size for mb in each] for name, each in peaks.items()}}
