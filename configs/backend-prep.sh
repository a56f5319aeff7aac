#!/bin/sh
# Prepares a real server for a layer-4 load balancer (LVS or lbd) where nothing but a shell and iproute2 is installed.
# It sets what `lbctl backend prepare` sets; of tunnels it knows the kernel's own device, tunl0.
#
#   backend-prep.sh prepare --vip VIP [--vip VIP...] --method dr|tun|nat [--interface IF] [--gateway DIRECTOR]
#   backend-prep.sh check    the same options, or none: those of the last preparation; exit status 1 if something is wrong
#   backend-prep.sh undo     puts back what was before
set -eu

root=${BACKEND_PREP_ROOT:-}
state=${BACKEND_PREP_STATE:-/var/lib/backend-prep}
conf=/proc/sys/net/ipv4/conf
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
    vips='' method='' interface='' gateway=''
    while [ $# -gt 0 ]; do
        [ $# -gt 1 ] || usage "$1 needs a value"
        case $1 in
            --vip) vips="$vips $2" ;;
            --method) method=$2 ;;
            --interface) interface=$2 ;;
            --gateway) gateway=$2 ;;
            *) usage "what is $1?" ;;
        esac
        shift 2
    done
    case $method in dr | tun | nat) ;; *) usage "--method is dr, tun or nat" ;; esac
    [ -n "$interface" ] || interface=$(ip -4 route show default | sed -n 's/.* dev \([^ ]*\).*/\1/p;q')
    [ -n "$interface" ] || die "no --interface, and no default route to tell it"
}

is_address() {
    echo "$1" | grep -Eq '^([0-9]{1,3}\.){3}[0-9]{1,3}$' || return 1
    for byte in $(echo "$1" | tr . ' '); do [ "$byte" -le 255 ] || return 1; done
}

# --- what it is like ---

value() { cat "$conf/$1" 2>/dev/null || echo; }

# Where an address is, as "10.0.0.1/24 eth0".
places() { ip -4 -o address show | awk -v vip="$1" '{ split($4, a, "/"); if (a[1] == vip) print $4, $2 }'; }

# The larger of the value for `all` and the interface's own counts.
is_strict() {
    own=$(value "$1/rp_filter")
    [ "$(value all/rp_filter)" -lt 2 ] && [ "$own" -lt 2 ] && [ $((own + $(value all/rp_filter))) -gt 0 ]
}

best_route() { ip -4 route show default | sed -n '1{s/ linkdown//;s/ *$//;p;}'; }

has_tunnel() { [ -e "$conf/tunl0" ]; }

# What packets come in by, with method dr, when replies go out by another.
way_in() {
    [ "$method" = dr ] || return 0
    case "$(best_route) " in ' ' | *" dev $interface "*) ;; *) echo "$interface" ;; esac
}

# --- what stands in the way: said before anything is changed ---

obstacles() {
    [ -e "$conf/$interface" ] || die "interface $interface does not exist" "ip -br link lists the interfaces"
    case $(ip -o link show dev "$interface") in
        *[\<,]UP[,\>]*) ;;
        *) die "interface $interface is down" "ip link set $interface up" ;;
    esac
    [ "$method" = nat ] || [ -n "$vips" ] || die "with method $method the real server has the virtual addresses" "name them with --vip"
    for vip in $vips; do
        is_address "$vip" || die "$vip is no IPv4 address"
        case $vip in 0.* | 127.* | 22[4-9].* | 23?.* | 24?.* | 25?.*) die "$vip cannot be a virtual address" ;; esac
        places "$vip" | while read -r net where; do
            if [ "$method" = nat ] || [ "$net $where" != "$vip/32 lo" ]; then
                die "$vip is an address of $where" "ip address del $net dev $where"
            fi
        done || exit 1
    done
    if [ "$method" = tun ] && ! has_tunnel; then
        modprobe -nq ipip 2>/dev/null || die "this kernel has no module ipip" "lbctl backend prepare brings an XDP program"
    fi
    [ -n "$gateway" ] || return 0
    [ "$method" = nat ] || die "with method $method replies do not go by way of the director" "leave --gateway out"
    [ -z "$(places "$gateway")" ] || die "the gateway $gateway is an address of this machine" "name the director's"
    case $(ip -4 route get "$gateway" oif "$interface" 2>/dev/null) in
        '' | *' via '*) die "the gateway $gateway is on no network of $interface" "name the director's address there" ;;
    esac
    case $(ip -4 route show default) in
        *nexthop*) die "the default route has several hops, and could not be put back" "replace it yourself" ;;
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
    remember "echo $old >$conf/$1"
    echo "$2" >"$conf/$1"
    changed "net.ipv4.conf.$(echo "$1" | tr / .)" "$old" "$2"
}

set_tunnel() {
    if ! has_tunnel; then
        remember 'ip link set tunl0 down; modprobe -r ipip || true'
        modprobe ipip
        old=absent
    else
        case $(ip -o link show dev tunl0) in *[\<,]UP[,\>]*) return 0 ;; esac
        remember 'ip link set tunl0 down'
        old=down
    fi
    ip link set tunl0 up
    changed tunl0 "$old" up
}

set_vip() {
    [ -z "$(places "$1")" ] || return 0
    remember "ip address del $1/32 dev lo"
    ip address add "$1/32" dev lo label lo:lbd
    changed "$1/32 on lo" absent present
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

# What is set again at each boot: parameters early, everything by a unit where there is systemd.
write_files() {
    if [ "$method" != nat ]; then
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

prepare() {
    options "$@"
    obstacles
    [ "$(id -u)" = 0 ] || die "only root may change the network" "sudo $0 prepare $*"
    [ "$method" = nat ] || [ -w "$conf/all/arp_ignore" ] ||
        die "$conf cannot be written" "in a container /proc/sys is read-only: prepare the machine that runs it"
    if [ -e "$state/options" ] && [ "$(cat "$state/options")" != "$*" ]; then go_back; fi
    mkdir -p "$state"
    [ -e "$state/undo" ] || : >"$state/undo"
    echo "$*" >"$state/options"
    trap failed EXIT
    # ARP is silenced before the address comes: the real server would take it from the director.
    if [ "$method" != nat ]; then
        for key in arp_ignore=1 arp_announce=2; do
            for where in all "$interface"; do set_value "$where/${key%=*}" "${key#*=}"; done
        done
    fi
    if [ "$method" = tun ]; then
        set_tunnel
        # Loose is not enough: it drops everything on an interface without an address.
        set_value all/rp_filter 0
        set_value tunl0/rp_filter 0
    fi
    for where in $(way_in); do
        ! is_strict "$where" || set_value "$where/rp_filter" 2
    done
    if [ "$method" != nat ]; then for vip in $vips; do set_vip "$vip"; done; fi
    [ -z "$gateway" ] || set_gateway
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
    name=net.ipv4.conf.$(echo "$1" | tr / .)
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
    if [ "$method" != nat ]; then
        for where in all "$interface"; do
            check_value "$where/arp_ignore" 1 'it answers ARP for the VIP, and packets come past the director'
            check_value "$where/arp_announce" 2 'its ARP questions come from the VIP, and tell the network of it'
        done
    fi
    if [ "$method" = tun ]; then
        case $(ip -o link show dev tunl0 2>/dev/null) in *[\<,]UP[,\>]*) found=up wanted='' ;; *) found=down wanted=up ;; esac
        finding tunl0 "$found" "$wanted" 'packets stay in their tunnel' 'modprobe ipip && ip link set tunl0 up'
        for where in all tunl0; do
            check_value "$where/rp_filter" 0 'the kernel drops packets whose sender it would answer by another interface'
        done
    fi
    for where in $(way_in); do
        if is_strict "$where"; then wanted=2; else wanted=''; fi
        finding "net.ipv4.conf.$where.rp_filter" "$(value "$where/rp_filter")" "$wanted" \
            'the kernel drops packets whose sender it would answer by another interface' \
            "sysctl -w net.ipv4.conf.$where.rp_filter=2"
    done
    if [ "$method" != nat ]; then
        for vip in $vips; do
            if [ -n "$(places "$vip")" ]; then found=present wanted=''; else found=absent wanted=present; fi
            finding "$vip/32 on lo" "$found" "$wanted" 'it drops packets to an address that it does not have' \
                "ip address add $vip/32 dev lo label lo:lbd"
        done
    fi
    if [ -n "$gateway" ]; then
        found=$(best_route)
        case "$found " in *" via $gateway dev $interface "*) wanted='' ;; *) wanted="via $gateway" ;; esac
        finding 'default route' "${found:-absent}" "$wanted" 'replies must go by way of the director' \
            "ip route replace default via $gateway dev $interface"
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
