#!/bin/sh
# On a Debian that systemd has booted, as root: has systemd run lbd.service of /try/package.deb. Stops at the first
# thing that is not as it must be.
set -eu
# shellcheck source=/dev/null
. /try/words.sh

# Nobody has installed anything yet.
dpkg --install /try/package.deb >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; wrong "dpkg --install"; }
systemctl start lbd || wrong "the condition of lbd.service makes its start fail"
is_over lbd || wrong "lbd runs without a configuration"
cat >/etc/lbd/lbd.yaml <<YAML
interfaces: [eth0, eth1]
connections: {max: 20000}
services:
  - {name: web, address: "192.0.2.80:80", method: nat, scheduler: rr, reals: ["10.0.0.11:8080"]}
YAML
began=$(now)
systemctl start lbd || wrong "lbd.service does not start"
well "systemd starts lbd.service once there is a configuration, and hears after $(since "$began") that it is ready"

is_locked_in lbd c0008030e1
! writes lbd /usr/x || wrong "lbd.service can write to /usr"
! writes lbd /root/x || wrong "lbd.service can write to /root"
writes lbd /etc/lbd/x || wrong "lbd.service cannot write to /etc/lbd, where lbctl save writes"
well "lbd.service runs with nine capabilities, a filter of system calls and a system that it cannot write to"

systemctl reload lbd || wrong "systemctl reload"
echo '  nonsense: 1' >>/etc/lbd/lbd.yaml
! systemctl reload lbd 2>/dev/null || wrong "systemctl reload takes any file"
sed -i '$d' /etc/lbd/lbd.yaml
systemctl --quiet is-active lbd || wrong "a file that is refused ends lbd"
well "systemctl reload applies a file, and fails where it is refused"

before=$(pid lbd)
systemctl restart lbd || wrong "systemctl restart"
is_another lbd "$before" || wrong "systemctl restart leaves the old lbd"
well "systemctl restart exchanges lbd"

# Another version with another XDP program, that which logs, and the old one again.
first=$(program)
echo LBD_LOG_PACKETS=true >>/etc/default/lbd
for package in next package; do
    before=$(pid lbd) began=$(now)
    dpkg --force-downgrade --install /try/$package.deb >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; wrong "the exchange of the package"; }
    within 60 "the exchange of the package leaves the old lbd" is_another lbd "$before"
    note "$(dpkg-query --show --showformat '${Version}' lbd) took over after $(since "$began")"
    [ "$(program)" != "$first" ] || wrong "the exchange of the package leaves the old program"
    first=$(program)
    sed -i '/LBD_LOG_PACKETS/d' /etc/default/lbd
done
well "a new package exchanges lbd and the XDP program, and so does the old one again"
