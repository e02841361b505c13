"""The same as playbook.yml with pyinfra (https://docs.pyinfra.com), for the comparison of `npm run bench`."""

from pathlib import Path

from pyinfra import host
from pyinfra.api import DeployError
from pyinfra.facts.files import Directory
from pyinfra.facts.server import Command
from pyinfra.operations import apt, files, systemd
from pyinfra.operations.util import any_changed

FILES = Path(__file__).parent / "files"
values = {
    "tool": "pyinfra",
    "source": "/mnt/storage_do_1",
    "target": "/mnt/storage_do_2",
    "recipients": "root@localhost",
    "lsyncd_delay": host.data.get("lsyncd_delay", 1),
}

for volume in (values["source"], values["target"]):
    if not host.get_fact(Directory, path=volume):
        raise DeployError(f"{volume} is not a directory")
    if host.get_fact(Command, command=f"mountpoint -q {volume} && echo yes || echo no") != "yes":
        raise DeployError(f"{volume} is not mounted")

LOOK = "find {} -mindepth 1 -not -name lost+found -print -quit"
if not host.get_fact(Command, command=LOOK.format(values["source"])):
    print(f"{values['source']} is empty")
if not host.data.get("later") and host.get_fact(Command, command=LOOK.format(values["target"])):
    raise DeployError(f"{values['target']} holds data")

apt.packages(packages=["lsyncd", "rsync"])

for path in ("/etc/lsyncd", "/var/log/lsyncd", "/etc/systemd/system/lsyncd.service.d"):
    files.directory(path=path, mode="755")


def template(name, folder, mode="644"):
    return files.template(src=str(FILES / f"{name}.j2"), dest=f"{folder}/{name}", mode=mode, **values)


units = "/etc/systemd/system"
configuration = template("lsyncd.conf.lua", "/etc/lsyncd")
override = template("override.conf", f"{units}/lsyncd.service.d")
template("lsyncd-monitor.sh", "/usr/local/bin", mode="755")
written = [template(name, units) for name in ("lsyncd-failure@.service", "lsyncd-monitor.service")]
timer = template("lsyncd-monitor.timer", units)

systemd.daemon_reload(_if=any_changed(override, timer, *written))
systemd.service(service="lsyncd.service", enabled=True, running=True)
systemd.service(service="lsyncd.service", restarted=True, _if=any_changed(configuration, override))
systemd.service(service="lsyncd-monitor.timer", enabled=True, running=True)
systemd.service(service="lsyncd-monitor.timer", restarted=True, _if=timer.did_change)
