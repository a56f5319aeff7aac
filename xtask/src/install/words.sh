# What the scripts beside this one have in common.

well() { echo "  ✓ $1"; }
note() { echo "    $1"; }
wrong() {
    echo "  ✗ $1"
    journalctl --no-pager --quiet --output=cat --lines=40 --unit=lbd --unit=lbd-backend || true
    exit 1
}

now() { date +%s%N; }
# since MOMENT: how long ago that is, in seconds.
since() { echo "$((($(now) - $1) / 100000000))" | sed 's/.$/.& s/; s/^\./0./'; }

# within SECONDS WHAT COMMAND...: waits until the command succeeds. The processor is emulated, and may have other work: as long as
# it takes on a machine of its own, several times over.
within() {
    deadline=$(($(now) + $1 * 5000000000)) what=$2
    shift 2
    until "$@"; do
        [ "$(now)" -lt $deadline ] || wrong "$what"
        sleep 0.05
    done
}

pid() { systemctl show --property=MainPID --value "$1"; }
is_over() { [ "$(systemctl is-active "$1")" = inactive ]; }
# is_another UNIT PID: another process than that runs it, and is ready.
is_another() {
    case $(pid "$1") in
        0 | "$2") return 1 ;;
    esac
    systemctl --quiet is-active "$1"
}

# The id of the program on eth0; nothing where none is.
program() { ip -details link show dev eth0 | sed -n 's/.*prog\/xdp id \([0-9]*\).*/\1/p'; }

# is_locked_in UNIT CAPABILITIES: what the kernel says of its process.
is_locked_in() {
    status=/proc/$(pid "$1")/status
    for line in "CapBnd:.*0$2" "CapEff:.*0$2" 'NoNewPrivs:.*1' 'Seccomp:.*2'; do
        grep -q "^$line\$" "$status" || { cat "$status"; wrong "$1.service is not locked in: $line"; }
    done
}
# writes UNIT FILE: whether its process sees a file system there that can be written to.
writes() {
    nsenter --target "$(pid "$1")" --mount touch "$2" 2>/dev/null || return 1
    nsenter --target "$(pid "$1")" --mount rm "$2"
}
