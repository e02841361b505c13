#!/bin/bash
# Turns a fresh Debian tree into the image that all sandbox hosts share.
# Arguments: the tree, the folder of files that go into it, and this machine's own certificate authorities (a folder that may be missing).
set -euo pipefail
root=$1
files=$2
certificates=$3

cp -R --no-preserve=ownership,timestamps "$files/." "$root/"
find "$root/etc/sudoers.d" -type f -exec chmod 0440 {} +

if [ -d "$certificates" ] && [ -n "$(find "$certificates" -name '*.crt' -print -quit)" ]; then
  cp -RL "$certificates/." "$root/usr/local/share/ca-certificates/"
  chroot "$root" update-ca-certificates >/dev/null
fi

# The packages that a deployment installs stay in apt's cache: no host of a test asks a mirror for them. A host gets its own resolv.conf.
cp -L --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" apt-get -qq -y --no-install-recommends --download-only install lsyncd logrotate msmtp curl >/dev/null
rm -f "$root"/var/cache/apt/*.bin

# Each host gets keys and an identity of its own
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
: >"$root/etc/fstab"

chroot "$root" useradd --create-home --shell /bin/bash admin
# useradd locks the password with "!", which sshd takes for a locked account; "*" is no password at all
chroot "$root" usermod --password '*' admin
install -d -m 0755 "$root/mnt/storage_do_1" "$root/mnt/storage_do_2"

# Disable jobs that would take dpkg's lock, or change the host, during a test
for timer in apt-daily apt-daily-upgrade dpkg-db-backup e2scrub_all; do
  ln -sf /dev/null "$root/etc/systemd/system/$timer.timer"
done
# There is no login console
for unit in console-getty.service getty.target; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
