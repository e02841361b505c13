#!/bin/bash
# Makes a host as it was before any of the tools deployed to it. Arguments: source and target.
set -u
systemctl stop lsyncd-monitor.timer lsyncd-verify.timer lsyncd-monitor.service lsyncd-verify.service lsyncd.service 2>/dev/null
systemctl disable --quiet lsyncd-monitor.timer lsyncd-verify.timer 2>/dev/null
for _ in {1..100}; do
  pgrep -x lsyncd >/dev/null || break
  sleep 0.05
done
rm -rf /etc/lsyncd /etc/systemd/system/lsyncd* /usr/local/bin/lsyncd* /usr/local/sbin/lsyncd* /usr/local/lib/lsyncd-as-code \
  /var/lib/lsyncd-as-code /var/log/lsyncd /etc/logrotate.d/lsyncd-as-code /etc/sysctl.d/*lsyncd* /run/lsyncd* \
  /root/.lsyncd-as-code /root/.ansible /tmp/pyinfra* /tmp/ansible*
systemctl daemon-reload
systemctl reset-failed
find "$2" -mindepth 1 -not -path "$2/lost+found*" -delete
for number in {1..10}; do
  [ -e "$1/file-$number" ] || echo "$number" >"$1/file-$number"
done
! pgrep -x lsyncd >/dev/null
