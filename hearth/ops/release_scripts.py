"""The shell scripts that build a release, switch to it, and go back."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from hearth.ops import systemd

COMPLETE = ".complete"
KEEPER = "/usr/local/sbin/hearth-state"  # role `state` brings it; hearth.backup.onguest.upgrade
KEPT = 2  # releases that are kept beside the current one
TOLD = 40  # lines of a failed build's output that are shown
# What a build may know of the guest's surroundings: nothing but the way out and whom to trust there.
HANDED_ON = ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
TRUST = {
    "SSL_CERT_FILE": AUTHORITIES,
    "NODE_EXTRA_CA_CERTS": AUTHORITIES,
    "PIP_CERT": AUTHORITIES,
    "GIT_SSL_CAINFO": AUTHORITIES,
    "UV_NATIVE_TLS": "1",  # the name before uv 0.10
    "UV_SYSTEM_CERTS": "1",
}


@dataclass(frozen=True)
class Build:
    """A release to be built.

    Args:
        home: the program's folder.
        ident: the release.
        script: what fills it.
        uses: folders that it cannot do without.
        builder: the user that builds.
        within: seconds.
    """

    home: str
    ident: str
    script: str
    uses: tuple[str, ...]
    builder: str
    within: int

    @property
    def inbox(self) -> str:
        """Where its parcels are put: a build that outlived its run still reads its own."""
        return f"{self.home}/inbox.{self.ident}"


@dataclass(frozen=True)
class Switch:
    """A release to be run.

    Args:
        home: the program's folder.
        ident: the release.
        unit: its unit.
        health: the shell command that proves it.
        files: the files that it reads.
        ports: TCP ports that it listens on.
        within: seconds until it must be healthy.
        role: whose state an upgrade keeps, and brings back where it fails.
        keeper: the program that does.
    """

    home: str
    ident: str
    unit: str
    health: str
    files: tuple[str, ...]
    ports: tuple[int, ...]
    within: int
    role: str
    keeper: str = KEEPER


def prepare_inbox(job: Build) -> str:
    """The script that makes the builder and an empty inbox that only it may read."""
    who, inbox = shlex.quote(job.builder), shlex.quote(job.inbox)
    return f"""set -eu
umask 022
id -u {who} >/dev/null 2>&1 || useradd --system --home-dir /nonexistent --shell /usr/sbin/nologin {who}
mkdir -p {shlex.quote(job.home)}/releases
rm -rf {inbox}
install -d -m 750 -o root -g "$(id -gn {who})" {inbox}
umask 027"""


def building(job: Build) -> str:
    """The script that builds a release.

    One build at a time a guest: all run as the same user. Every process of a build is in a PID namespace of
    its own, whose first process is timeout(1): when that ends, for whatever reason, the kernel kills the rest
    (pid_namespaces(7)). The lock is inherited, so that a build that outlived its run is waited for.
    """
    q = shlex.quote
    handed_on = " ".join(f'${{{name}:+{name}="${name}"}}' for name in HANDED_ON)
    trust = " ".join(f"{name}={value}" for name, value in TRUST.items())
    return f"""set -eu
umask 022
home={q(job.home)} release={q(f"{job.home}/releases/{job.ident}")} builder={q(job.builder)}
inbox={q(job.inbox)}
mkdir -p -m 700 /run/hearth
exec 9>/run/hearth/build.lock
flock -w {job.within} 9 || {{ echo 'another build on this guest does not end' >&2; exit 1; }}
[ ! -e "$release/{COMPLETE}" ] || {{ rm -rf "$inbox"; exit 0; }}
scratch=$(mktemp -d "$home/scratch.XXXXXX")
trap 'rm -rf "$scratch" "$inbox"; [ -e "$release/{COMPLETE}" ] || rm -rf "$release"' EXIT
trap 'exit 1' HUP INT TERM
find "$home" -maxdepth 1 \\( -name 'scratch.*' -o -name 'inbox.*' -mmin +120 \\) \\
  ! -path "$scratch" ! -path "$inbox" -exec rm -rf {{}} +
rm -rf "$release"
group=$(id -gn "$builder")
chmod 755 "$scratch"
chmod -R g+r "$inbox" && chgrp -R "$group" "$inbox"
install -d -o "$builder" -g "$group" "$release" "$scratch/home" "$scratch/tmp"
printf '%s\\n' {q(job.script)} >"$scratch/build"
cd "$release"
code=0
env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \\
  HOME="$scratch/home" TMPDIR="$scratch/tmp" SOURCES="$inbox" RELEASE="$release" {trust} {handed_on} \\
  unshare --pid --fork --kill-child timeout -s KILL {job.within} \\
  setpriv --reuid="$builder" --regid="$group" --clear-groups --no-new-privs \\
  --inh-caps=-all --bounding-set=-all \\
  sh -eu "$scratch/build" </dev/null >"$home/build.log" 2>&1 || code=$?
if [ "$code" -ne 0 ]; then
  tail -n {TOLD} "$home/build.log" >&2
  [ "$code" -ne 137 ] || echo 'killed: more than {job.within} seconds, or out of memory' >&2
  echo {q(f"the build of {job.ident} failed with exit code")} "$code; all it said: $home/build.log" >&2
  exit 1
fi
chown -hR root:root "$release"
chmod -R u=rwX,go=rX "$release"
sync -f "$release"
printf '%s\\n' {" ".join(map(q, job.uses)) or "''"} >"$scratch/{COMPLETE}"
mv "$scratch/{COMPLETE}" "$release/{COMPLETE}"
sync -f "$release"
"""


def activating(job: Switch, steps: Sequence[str]) -> str:
    """The script that switches, takes systemctl's steps, watches, and goes back where health fails.

    It goes on when the connection of the run that began it is lost. `trying` says what it was at when
    something stronger ends it: the release that had the data in its hands.
    """
    q = shlex.quote
    start = systemd.script(job.unit, steps, job.ports, 1.0, job.within)
    again = systemd.script(job.unit, ["daemon-reload", "restart"], job.ports, 1.0, job.within)
    return f"""set -u
umask 022
trap '' HUP PIPE
home={q(job.home)} ident={q(job.ident)} unit={q(job.unit)} role={q(job.role)} keeper={q(job.keeper)}
app=${{home##*/}}
{_FILES.format(files=" ".join(map(q, job.files)))}
{_TOOLS}
healthy() {{
  end=$(($(date +%s) + {job.within}))
  until said=$( ( {job.health}
  ) 2>&1 ); do
    if [ "$(date +%s)" -ge "$end" ]; then
      printf '%s\n' "$said" | tail -n 20 >&2
      echo "$unit: not healthy within {job.within} seconds" >&2
      systemctl --no-pager --full --lines=30 status "$unit" >&2
      return 1
    fi
    sleep 0.3
  done
}}
starts() {{ ( {start}
) && healthy; }}
starts_again() {{ ( {again}
) && healthy; }}
[ -e "$home/releases/$ident/{COMPLETE}" ] || {{ echo "$home/releases/$ident is not built" >&2; exit 1; }}
exec 8>"$home/switch.lock"
flock -w {2 * job.within + 600} 8 || {{ echo "$unit: another run does not end with it" >&2; exit 1; }}
old=$(cat "$home/proven" 2>/dev/null) tried=$(cat "$home/trying" 2>/dev/null)
if [ -n "$old" ] && {{ [ "$old" != "$ident" ] || [ -n "$tried" ]; }}; then
  # Into a variable: who else would listen may be gone, and that is no reason to fail.
  told=$("$keeper" keep "$role" "$app" "$unit" "$old" "$ident" "$tried" 2>&1) || not_tried $?
  [ -z "$told" ] || echo "$unit: $told" >&2
fi
put trying "$ident"
link "$ident"
if starts; then
  keep
  touch "$home/releases/$ident/{COMPLETE}"
  put proven "$ident"
  rm -f "$home/trying" "$home/failed"
{_PRUNE}
  exit 0
fi
put failed "$ident $(date -u +%FT%TZ)"
{_BACK}"""


_TOOLS = """put() {
  printf '%s\\n' "$2" >"$home/$1.new" && sync "$home/$1.new" &&
    mv -f "$home/$1.new" "$home/$1" && sync "$home"
}
link() { ln -sfn "releases/$1" "$home/current.new" && mv -fT "$home/current.new" "$home/current"; }
not_tried() {
  echo "$told" >&2
  # 4: the data are as they were. Else they may be in another release's hands, where a run was cut off.
  if [ "$1" = 3 ] || { [ "$1" != 4 ] && [ -n "$tried" ] && [ "$tried" != "$old" ]; }; then
    echo "$unit: $ident was not tried, and $old must not get the data as they are: run again" >&2
    exit 1
  fi
  link "$old"
  give_back
  systemctl daemon-reload
  systemctl start "$unit"
  echo "$unit: $ident was not tried; $old runs, with the files it had" >&2
  exit 1
}"""

# What the new release made of the data, no older one is promised to read: so the old one does not get it.
_BACK = f"""if [ -z "$old" ] || [ ! -e "$home/releases/$old/{COMPLETE}" ]; then
  echo "$unit: there is no earlier release to go back to" >&2
  exit 1
fi
if [ "$old" = "$ident" ] && ! differ; then
  echo "$unit: release and files are those that worked before: nothing to go back to" >&2
  exit 1
fi
back='the files it had' what=$ident
[ "$old" != "$ident" ] || what='it with these files'
if [ "$old" != "$ident" ]; then
  # At rest before the link leads elsewhere: systemd might start the old one, with the new one's data.
  systemctl stop "$unit"
  if systemctl -q is-active "$unit"; then
    echo "$unit: $ident failed, and cannot be stopped: run again" >&2
    exit 1
  fi
fi
link "$old"
give_back
if [ "$old" != "$ident" ]; then
  data=$("$keeper" undo "$app" "$ident" 2>&1) || {{
    echo "$data" >&2
    echo "$unit: $ident failed; it stays stopped, since $old must not get the data as they are; run again" >&2
    exit 1
  }}
  [ -z "$data" ] || {{ back='the files and data it had'; echo "$unit: $data" >&2; }}
fi
if starts_again; then
  echo "$unit: $what failed (see above); went back to $old and $back; it is healthy" >&2
  rm -f "$home/trying"
else
  echo "$unit: $what failed; went back to $old and $back, and that is not healthy either" >&2
fi
exit 1
"""


# The files that a proven release had, under their whole paths: also a change of them alone has a way back.
_FILES = """kept="$home/proven.d"
keep() {{
  rm -rf "$kept.new" && install -d -m 700 "$kept.new" || return
  for file in {files}; do
    ( umask 077; mkdir -p "$kept.new${{file%/*}}" ) && cp -pL "$file" "$kept.new$file" || return
  done
  rm -rf "$kept" && mv "$kept.new" "$kept"
}}
differ() {{
  for file in {files}; do cmp -s "$file" "$kept$file" || return 0; done
  return 1
}}
give_back() {{
  for file in {files}; do
    [ -e "$kept$file" ] || continue
    cmp -s "$file" "$kept$file" && continue
    target=$(readlink -f "$file")
    cp -p "$kept$file" "${{target%/*}}/.${{target##*/}}.hearth" && \\
      mv -fT "${{target%/*}}/.${{target##*/}}.hearth" "$target"
  done
}}"""

# Newest use first; what another release needs (a line in its marker) stays.
_PRUNE = f"""  root=${{home%/*}}
  ls -1t "$home"/releases/*/{COMPLETE} | tail -n +{KEPT + 2} | while read -r marker; do
    rm -f "$marker"; rm -rf "${{marker%/*}}"
  done
  for marker in "$root"/node/releases/*/{COMPLETE} "$root"/uv/releases/*/{COMPLETE}; do
    [ -e "$marker" ] || continue
    cat "$root"/*/releases/*/{COMPLETE} 2>/dev/null | grep -qxF "${{marker%/*}}" && continue
    [ -n "$(find "$marker" -mmin -60)" ] || {{ rm -f "$marker"; rm -rf "${{marker%/*}}"; }}
  done"""
