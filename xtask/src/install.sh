#!/bin/sh
# In a fresh Debian, as root, with a network of its own: installs /package.deb, upgrades, removes and purges it. Stops at the
# first thing that is not as it must be.
set -eu

well() { echo "  ✓ $1"; }
wrong() {
    echo "  ✗ $1"
    exit 1
}

# What is on the disk, but for what dpkg keeps about itself.
files() {
    find / -xdev \( -path /dev -o -path /proc -o -path /run -o -path /sys -o -path /tmp -o -path '/var/cache/*' \
        -o -path '/var/lib/dpkg/*' -o -path '/var/log/*' -o -path /var/lib/systemd \) -prune -o -print | sort
}

examples=/usr/share/doc/lbd/examples
units=/usr/lib/systemd/system

ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth0 up
ip link set eth1 up
ip address add 192.0.2.1/24 dev eth0
files >/tmp/before
# The kernel has files of its own there.
find /sys/fs/bpf -type f | sort >/tmp/pins

dpkg --install /package.deb >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; wrong "dpkg --install"; }
well "installs: $(lbd --version), $(lbctl --version)"

getent group lbd >/dev/null || wrong "there is no group lbd"
[ ! -e /etc/lbd/lbd.yaml ] || wrong "there is a configuration that nobody wrote"
grep -q '^ConditionPathExists=|/etc/lbd/lbd.yaml' $units/lbd.service || wrong "the unit starts without a configuration"
[ "$(systemctl is-enabled lbd.service)" = enabled ] || wrong "lbd.service is not enabled"
[ "$(systemctl is-enabled lbd-backend.service || true)" = disabled ] || wrong "lbd-backend.service is enabled"
[ ! -e /run/lbd/lbd.sock ] || wrong "something serves already"
well "the group is there, the unit waits for a configuration"

count=0
for example in "$examples"/*.yaml; do
    lbctl check "$example" >/tmp/check 2>&1 || { cat /tmp/check; wrong "lbctl check $example"; }
    count=$((count + 1))
done
[ $count -gt 5 ] || wrong "only $count examples"
well "lbctl check passes on $count examples"

for page in man5/lbd.yaml.5 man8/lbctl.8 man8/lbd.8; do
    gzip -t /usr/share/man/$page.gz || wrong "the manual page $page"
done
bash -n /usr/share/bash-completion/completions/lbctl || wrong "the completions for bash"
[ -s /usr/share/zsh/vendor-completions/_lbctl ] || wrong "the completions for zsh"
[ -s /usr/share/fish/vendor_completions.d/lbctl.fish ] || wrong "the completions for fish"
well "manual pages and completions are there"

for unit in lbd lbd-backend; do
    systemd-analyze verify --man=no $units/$unit.service >/tmp/verify 2>&1 || { cat /tmp/verify; wrong "systemd-analyze verify $unit"; }
    [ ! -s /tmp/verify ] || { cat /tmp/verify; wrong "systemd-analyze verify $unit"; }
    score=$(systemd-analyze security --offline=yes $units/$unit.service 2>/dev/null | sed -n 's/.*Overall exposure level for [^:]*: \([0-9.]*\).*/\1/p')
    [ -n "$score" ] || wrong "systemd-analyze security says nothing of $unit"
    well "$unit.service is clean, exposure $score"
done

# As the unit starts it; systemd itself is not here.
cat >/etc/lbd/lbd.yaml <<YAML
interfaces: [eth0, eth1]
connections: {max: 1000}
services:
  - {name: web, address: "192.0.2.80:80", reals: ["192.0.2.21:80"]}
YAML
mkdir -p /run/lbd /var/lib/lbd
start() {
    lbd 2>>/tmp/lbd.log &
    pid=$!
    for _ in $(seq 200); do
        if lbctl status >/tmp/status 2>/dev/null; then return 0; fi
        kill -0 $pid 2>/dev/null || break
        sleep 0.05
    done
    cat /tmp/lbd.log
    wrong "lbd does not start"
}
# The program's id where it runs, nothing where none does.
program() { ip -details link show dev eth0 | sed -n 's/.*prog\/xdp id \([0-9]*\).*/\1/p'; }
start
[ -n "$(program)" ] || wrong "no program runs on eth0"
lbctl add-real -t 192.0.2.80:80 -r 192.0.2.22 >/dev/null
well "lbd starts, and runs its program"

echo 'LBD_LOG=debug' >>/etc/default/lbd
sums='/etc/default/lbd /etc/lbd/lbd.yaml /var/lib/lbd/running.yaml'
# shellcheck disable=SC2086 # several words
sha256sum $sums >/tmp/sums
dpkg-deb --raw-extract /package.deb /tmp/next
sed -i 's/^Version: .*/&+next/' /tmp/next/DEBIAN/control
dpkg-deb --build /tmp/next /tmp/next.deb >/dev/null
before=$(program)
dpkg --install /tmp/next.deb >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; wrong "the upgrade"; }
sha256sum --quiet --check /tmp/sums || wrong "the upgrade changes what was configured"
[ "$(program)" = "$before" ] || wrong "the upgrade takes the program off"
kill "$pid"
wait "$pid" || wrong "lbd ends with status $?"
[ "$(program)" = "$before" ] || wrong "the program ends with lbd"
start
[ "$(lbctl list | grep -c 192.0.2.2)" -eq 2 ] || { lbctl list; wrong "the new lbd has other real servers"; }
well "an upgrade keeps configuration, state and program"

status=0
lbctl detach >/dev/null
wait "$pid" || status=$?
[ $status -eq 10 ] || wrong "after detach lbd ends with status $status, which the unit takes for a failure"
grep -q '^RestartPreventExitStatus=10' $units/lbd.service || wrong "the unit starts lbd again after detach"
start
kill -9 "$pid"
wait "$pid" 2>/dev/null || true
lbctl backend prepare --vip 192.0.2.81 --method dr --interface eth1 >/dev/null
ip address show dev lo | grep -q 192.0.2.81 || wrong "backend prepare did nothing"
dpkg --remove lbd >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; wrong "dpkg --remove"; }
[ -z "$(program)" ] || wrong "a removal leaves the program"
find /sys/fs/bpf -type f | sort | cmp -s /tmp/pins - || wrong "a removal leaves maps"
! ip address show dev lo | grep -q 192.0.2.81 || wrong "a removal leaves the preparation of a real server"
[ -e /etc/lbd/lbd.yaml ] || wrong "a removal takes the configuration"
well "a removal takes everything out of the kernel, and undoes the preparation of a real server"

dpkg --purge lbd >/tmp/dpkg 2>&1 || { cat /tmp/dpkg; wrong "dpkg --purge"; }
[ -e /etc/lbd/lbd.yaml ] || wrong "a purge takes what the administrator wrote"
rm -r /etc/lbd
files >/tmp/after
diff /tmp/before /tmp/after || wrong "a purge leaves something, or takes too much"
well "a purge leaves nothing but the administrator's own file"
