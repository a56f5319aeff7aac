#!/bin/sh
# Prepares a real server for a layer-4 load balancer (LVS or lbd) where nothing but a shell and iproute2 is installed.
# It sets what `lbctl backend prepare` sets; of tunnels it knows the kernel's own devices, tunl0 and ip6tnl0.
#
#   backend-prep.sh prepare --vip VIP [--vip VIP...] --method dr|tun|nat [--interface IF] [--gateway DIRECTOR...]
#   backend-prep.sh check    the same options, or none: those of the last preparation; exit status 1 if something is wrong
#   backend-prep.sh undo     puts back what was before
set -eu

root=${BACKEND_PREP_ROOT:-}
state=${BACKEND_PREP_STATE:-/var/lib/backend-prep}
net=/proc/sys/net
conf=$net/ipv4/conf
conf6=$net/ipv6/conf
sysctls=$root/etc/sysctl.d/60-backend-prep.conf
unit=$root/etc/systemd/system/backend-prep.service
wants=$root/etc/systemd/system/multi-user.target.wants

die() {
    echo "error: $1" >&2
    [ -z "${2:-}" ] || echo "hint: $2" >&2
    exit "${3:-1}"
}

usage() { die "$1" "sed -n 2,8p $0 shows how it is used" 2; }

# --- what it is to be ---

options() {
    vips='' method='' interface='' gateway='' gateway6=''
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || usage "$1 needs a value"
        case $1 in
            --vip) vips="$vips $2" ;;
            --method) method=$2 ;;
            --interface) interface=$2 ;;
            --gateway)
                if is_ipv6 "$2"; then
                    [ -z "$gateway6" ] || usage '--gateway twice for one family'
                    gateway6=$2
                else
                    [ -z "$gateway" ] || usage '--gateway twice for one family'
                    gateway=$2
                fi
                ;;
            *) usage "what is $1?" ;;
        esac
        shift 2
    done
    case $method in dr | tun | nat) ;; *) usage "--method is dr, tun or nat" ;; esac
    for ip in 'ip -4' 'ip -6'; do
        [ -n "$interface" ] || interface=$($ip route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p;q')
    done
    [ -n "$interface" ] || die "no --interface, and no default route to tell it"
}

is_ipv6() { case $1 in *:*) ;; *) return 1 ;; esac }

# The virtual addresses that are to be this machine's, of one family.
vips4() { for vip in $vips; do [ "$method" = nat ] || is_ipv6 "$vip" || echo "$vip"; done; }
vips6() { for vip in $vips; do [ "$method" = nat ] || ! is_ipv6 "$vip" || echo "$vip"; done; }

# An address as a network: ip(8) takes what is none for an error.
host() { if is_ipv6 "$1"; then echo "$1/128"; else echo "$1/32"; fi; }

is_address() {
    is_ipv6 "$1" || echo "$1" | grep -Eq '^([0-9]{1,3}\.){3}[0-9]{1,3}$' || return 1
    ip address show to "$(host "$1")" >/dev/null 2>&1
}

# --- what it is like ---

# A parameter below /proc/sys/net.
value() { cat "$net/$1" 2>/dev/null || echo; }

# Where an address is, as "10.0.0.1/24 eth0".
places() { ip -o address show to "$(host "$1")" | awk '{ print $4, $2 }'; }

# The larger of the value for `all` and the interface's own counts.
is_strict() {
    own=$(value "ipv4/conf/$1/rp_filter")
    all=$(value ipv4/conf/all/rp_filter)
    [ "$all" -lt 2 ] && [ "$own" -lt 2 ] && [ $((own + all)) -gt 0 ]
}

best_route() { ip -4 route show default | sed -n '1{s/ linkdown//;s/ *$//;p;}'; }

# The same of IPv6, where the greater metric may come first.
best_route6() { ip -6 route show default | sed -n 's/^\(.* metric \([0-9]*\).*\)$/\2 \1/p' | sort -n | sed -n '1{s/^[0-9]* //;s/ *$//;p;}'; }

# The tunnel devices that the virtual addresses need.
tunnels() {
    [ "$method" = tun ] || return 0
    [ -z "$(vips4)" ] || echo tunl0
    [ -z "$(vips6)" ] || echo ip6tnl0
}

module() { case $1 in tunl0) echo ipip ;; ip6tnl0) echo ip6_tunnel ;; esac }

has_link() { [ -e "$conf/$1" ]; }

is_up() { case $(ip -o link show dev "$1" 2>/dev/null) in *[\<,]UP[,\>]*) ;; *) return 1 ;; esac }

# What packets come in by, with method dr, when replies go out by another.
way_in() {
    [ "$method" = dr ] && [ -n "$(vips4)" ] || return 0
    case "$(best_route) " in ' ' | *" dev $interface "*) ;; *) echo "$interface" ;; esac
}

# --- what stands in the way: said before anything is changed ---

obstacles() {
    has_link "$interface" || die "interface $interface does not exist" "ip -br link lists the interfaces"
    is_up "$interface" || die "interface $interface is down" "ip link set $interface up"
    [ "$method" = nat ] || [ -n "$vips" ] || die "with method $method the real server has the virtual addresses" "name them with --vip"
    for vip in $vips; do
        is_address "$vip" || die "$vip is no address"
        case $(echo "$vip" | tr A-F a-f) in
            0.* | 127.* | 22[4-9].* | 23?.* | 24?.* | 25?.* | :: | ::1 | ::ffff:* | ff*:* | fe[89ab]?:*)
                die "$vip cannot be a virtual address" ;;
        esac
        ! is_ipv6 "$vip" || ipv6_is_on "$vip"
        places "$vip" | while read -r found where; do
            if [ "$method" = nat ] || [ "${found#*/} $where" != "$(host "$vip" | sed 's,.*/,,') lo" ]; then
                die "$vip is an address of $where" "ip address del $found dev $where"
            fi
        done || exit 1
    done
    for device in $(tunnels); do
        has_link "$device" || modprobe -nq "$(module "$device")" 2>/dev/null ||
            die "this kernel has no module $(module "$device")" "for IPv4 lbctl backend prepare brings an XDP program"
    done
    for director in $gateway $gateway6; do gateway_is_near "$director"; done
    [ -z "$gateway" ] || case $(ip -4 route show default) in
        *nexthop*) die "the default route has several hops, and could not be put back" "replace it yourself" ;;
    esac
    [ -z "$gateway6" ] || case "$(best_route6) " in
        *" via $gateway6 dev $interface "*) ;;
        *' metric 1 '*) die 'another IPv6 default route has metric 1' 'give it a greater one' ;;
    esac
}

ipv6_is_on() {
    [ -e "$conf6/lo" ] || die 'this kernel has no IPv6'
    for where in lo "$interface"; do
        [ "$(value "ipv6/conf/$where/disable_ipv6")" = 0 ] ||
            die "IPv6 is switched off on $where" "sysctl -w net.ipv6.conf.$where.disable_ipv6=0"
    done
    case $(ip -6 neigh show proxy to "$1") in
        '') ;;
        *) die "this machine is a proxy for $1, and tells the network of it" 'ip -6 neigh show proxy' ;;
    esac
}

gateway_is_near() {
    is_address "$1" || die "the gateway $1 is no address"
    [ "$method" = nat ] || die "with method $method replies do not go by way of the director" "leave --gateway out"
    [ -z "$(places "$1")" ] || die "the gateway $1 is an address of this machine" "name the director's"
    case $(ip route get "$1" oif "$interface" 2>/dev/null) in
        '' | unreachable* | *' via '*)
            die "the gateway $1 is on no network of $interface" "name the director's address there" ;;
    esac
}

# --- changing, and remembering how to go back ---

# remember COMMAND: the last change is the first to be undone.
remember() {
    { echo "$1"; cat "$state/undo"; } >"$state/undo.new"
    mv "$state/undo.new" "$state/undo"
}

changed() { echo "$1  $2 → $3"; }

set_value() {
    old=$(value "$1")
    case $1:$old in "$1:$2" | */arp_ignore:2 | */arp_ignore:8) return 0 ;; esac
    remember "echo $old >$net/$1"
    echo "$2" >"$net/$1"
    changed "net.$(echo "$1" | tr / .)" "$old" "$2"
}

set_tunnel() {
    if ! has_link "$1"; then
        remember "ip link set $1 down; modprobe -r $(module "$1") || true"
        modprobe "$(module "$1")"
        old=absent
    else
        ! is_up "$1" || return 0
        remember "ip link set $1 down"
        old=down
    fi
    ip link set "$1" up
    changed "$1" "$old" up
}

# What makes a virtual address. One of IPv6 is not searched for at the director that has it, too, and no connection of
# this machine's own comes from it.
vip_options() { if is_ipv6 "$1"; then echo 'nodad preferred_lft 0'; else echo 'label lo:lbd'; fi; }

set_vip() {
    [ -z "$(places "$1")" ] || return 0
    remember "ip address del $(host "$1") dev lo"
    # shellcheck disable=SC2046 # several words
    ip address add "$(host "$1")" dev lo $(vip_options "$1")
    changed "$(host "$1") on lo" absent present
}

set_gateway() {
    old=$(best_route)
    case "$old " in *" via $gateway dev $interface "*) return 0 ;; esac
    metric=$(echo "$old" | sed -n 's/.* \(metric [0-9]*\).*/\1/p')
    # shellcheck disable=SC2086 # two words, or none
    set -- default via "$gateway" dev "$interface" proto static $metric
    if [ -n "$old" ]; then remember "ip route replace $old"; else remember "ip route del $*"; fi
    ip route replace "$@"
    changed 'default route' "${old:-absent}" "$*"
}

# A route before all others: a router advertises them again and again.
route6() { echo "default via $gateway6 dev $interface proto static metric 1"; }

set_gateway6() {
    case "$(best_route6) " in *" via $gateway6 dev $interface "*) return 0 ;; esac
    # shellcheck disable=SC2046 # several words
    set -- $(route6)
    remember "ip -6 route del $*"
    ip -6 route add "$@"
    changed 'IPv6 default route' absent "$*"
}

# What is set again at each boot: parameters early, everything by a unit where there is systemd.
write_files() {
    if [ -n "$(vips4)" ]; then
        mkdir -p "${sysctls%/*}"
        for interface_or_all in all "$interface"; do
            echo "-net/ipv4/conf/$interface_or_all/arp_ignore = 1"
            echo "-net/ipv4/conf/$interface_or_all/arp_announce = 2"
        done >"$sysctls"
    fi
    [ -d "${unit%/*}" ] || return 0
    cat >"$unit" <<UNIT
[Unit]
Description=Real server of a layer-4 load balancer
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=$(readlink -f "$0") prepare $*

[Install]
WantedBy=multi-user.target
UNIT
    mkdir -p "$wants"
    ln -sf /etc/systemd/system/backend-prep.service "$wants/"
}

go_back() {
    [ -e "$state/undo" ] || return 0
    sh -eu "$state/undo"
    rm -rf "$sysctls" "$unit" "$wants/backend-prep.service" "$state"
}

failed() {
    status=$?
    [ $status -eq 0 ] && return
    trap - EXIT
    echo "error: it failed half way; putting back what was" >&2
    go_back
    exit $status
}

# What a tunnel needs. Loose is not enough: it drops everything on an interface without an address.
tunnel_values() {
    case $1 in
        tunl0) echo ipv4/conf/all/rp_filter=0 ipv4/conf/tunl0/rp_filter=0 ;;
        ip6tnl0) echo ipv6/conf/ip6tnl0/disable_ipv6=0 ;;
    esac
}

prepare() {
    options "$@"
    obstacles
    [ "$(id -u)" = 0 ] || die "only root may change the network" "sudo $0 prepare $*"
    [ -z "$(vips4)" ] || [ -w "$conf/all/arp_ignore" ] ||
        die "$conf cannot be written" "in a container /proc/sys is read-only: prepare the machine that runs it"
    if [ -e "$state/options" ] && [ "$(cat "$state/options")" != "$*" ]; then go_back; fi
    mkdir -p "$state"
    [ -e "$state/undo" ] || : >"$state/undo"
    echo "$*" >"$state/options"
    trap failed EXIT
    # ARP is silenced before the address comes: the real server would take it from the director.
    # With IPv6 there is nothing to silence: neighbours are told only of addresses of the interface on which they ask.
    if [ -n "$(vips4)" ]; then
        for key in arp_ignore=1 arp_announce=2; do
            for where in all "$interface"; do set_value "ipv4/conf/$where/${key%=*}" "${key#*=}"; done
        done
    fi
    for device in $(tunnels); do
        set_tunnel "$device"
        for setting in $(tunnel_values "$device"); do set_value "${setting%=*}" "${setting#*=}"; done
    done
    for where in $(way_in); do
        ! is_strict "$where" || set_value "ipv4/conf/$where/rp_filter" 2
    done
    for vip in $(vips4) $(vips6); do set_vip "$vip"; done
    [ -z "$gateway" ] || set_gateway
    [ -z "$gateway6" ] || set_gateway6
    write_files "$@"
    trap - EXIT
    echo "this machine is a real server ($*); '$0 undo' puts back what was"
}

# --- checking ---

# finding WHAT FOUND WANTED WHY COMMAND: nothing wanted is a good one.
finding() {
    if [ -z "$3" ]; then
        echo "✓ $1: $2"
    else
        printf '✗ %s: %s, must be %s\n    %s\n    hint: %s\n' "$1" "$2" "$3" "$4" "$5"
        wrong=$((wrong + 1))
    fi
}

check_value() {
    found=$(value "$1")
    wanted=$2
    case $1:$found in "$1:$2" | */arp_ignore:2 | */arp_ignore:8) wanted='' ;; esac
    name=net.$(echo "$1" | tr / .)
    finding "$name" "$found" "$wanted" "$3" "sysctl -w $name=$2"
}

check() {
    if [ $# -eq 0 ]; then
        [ -e "$state/options" ] || die "this machine was not prepared" "$0 prepare --vip VIP --method dr|tun|nat"
        # shellcheck disable=SC2046 # they were words, and none has a space in it
        set -- $(cat "$state/options")
    fi
    options "$@"
    wrong=0
    (obstacles) || wrong=1
    if [ -n "$(vips4)" ]; then
        for where in all "$interface"; do
            check_value "ipv4/conf/$where/arp_ignore" 1 'it answers ARP for the VIP, and packets come past the director'
            check_value "ipv4/conf/$where/arp_announce" 2 'its ARP questions come from the VIP, and tell the network of it'
        done
    fi
    for device in $(tunnels); do
        if is_up "$device"; then found=up wanted=''; else found=down wanted=up; fi
        finding "$device" "$found" "$wanted" 'packets stay in their tunnel' \
            "modprobe $(module "$device") && ip link set $device up"
        for setting in $(tunnel_values "$device"); do
            check_value "${setting%=*}" "${setting#*=}" 'the kernel drops what comes out of the tunnel'
        done
    done
    for where in $(way_in); do
        if is_strict "$where"; then wanted=2; else wanted=''; fi
        finding "net.ipv4.conf.$where.rp_filter" "$(value "ipv4/conf/$where/rp_filter")" "$wanted" \
            'the kernel drops packets whose sender it would answer by another interface' \
            "sysctl -w net.ipv4.conf.$where.rp_filter=2"
    done
    for vip in $(vips4) $(vips6); do
        if [ -n "$(places "$vip")" ]; then found=present wanted=''; else found=absent wanted=present; fi
        finding "$(host "$vip") on lo" "$found" "$wanted" 'it drops packets to an address that it does not have' \
            "ip address add $(host "$vip") dev lo $(vip_options "$vip")"
    done
    if [ -n "$gateway" ]; then
        found=$(best_route)
        case "$found " in *" via $gateway dev $interface "*) wanted='' ;; *) wanted="via $gateway" ;; esac
        finding 'default route' "${found:-absent}" "$wanted" 'replies must go by way of the director' \
            "ip route replace default via $gateway dev $interface"
    fi
    if [ -n "$gateway6" ]; then
        found=$(best_route6)
        case "$found " in *" via $gateway6 dev $interface "*) wanted='' ;; *) wanted="via $gateway6" ;; esac
        finding 'IPv6 default route' "${found:-absent}" "$wanted" 'replies must go by way of the director' \
            "ip -6 route add $(route6)"
    fi
    [ "$wrong" -eq 0 ] || exit 1
}

undo() {
    [ -e "$state/undo" ] || die "this machine was not prepared by $0"
    go_back
    echo "everything is as it was before"
}

[ $# -gt 0 ] || usage "what is to be done?"
verb=$1
shift
case $verb in
    prepare | check) "$verb" "$@" ;;
    undo) undo ;;
    *) usage "what is $verb?" ;;
esac
