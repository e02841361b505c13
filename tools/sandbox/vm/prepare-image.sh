#!/bin/bash
# Turns a fresh Debian tree into the root of all virtual machines: network by user-mode networking, sshd, no password.
# Arguments: the tree, the folder of files that go into every sandbox host.
set -euo pipefail
root=$1
files=$2

cp -R --no-preserve=ownership,timestamps "$files/etc/ssh" "$files/etc/sudoers.d" "$root/etc/"
find "$root/etc/sudoers.d" -type f -exec chmod 0440 {} +
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
printf '/dev/vda / ext4 defaults 0 1\n' >"$root/etc/fstab"

# The addresses of QEMU's user-mode network.
printf '[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' >"$root/etc/systemd/network/eth0.network"
printf 'nameserver 10.0.2.3\n' >"$root/etc/resolv.conf"
chroot "$root" systemctl --quiet enable systemd-networkd

chroot "$root" useradd --create-home --shell /bin/bash admin
chroot "$root" usermod --password '*' admin
install -d -m 0755 "$root/mnt/storage_do_1" "$root/mnt/storage_do_2"
install -d -m 0700 "$root/root/.ssh"
# Disable jobs that would take dpkg's lock during a test, and unused consoles
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer getty.target; do
  ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
