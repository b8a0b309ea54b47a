#!/usr/bin/env bash
# Makes a Debian 12 machine (root, amd64) able to lint, build, test and run labpack for
# Windows: std for x86_64-pc-windows-gnu, MinGW's linker, and Wine to run what comes out.
# Everything comes from Debian's packages. Running it again does only what is missing.
#
#   WINX=/opt/winx     where std's source, the Wine prefix and the wrappers live
#   WINX_MODE=auto     rustup: std for the active toolchain, built from Debian's rust-src of
#                      the same version; web: Debian's own rustc-web; auto: the first that works
#   WINX_MIRROR=…      a Debian mirror; by default the one this machine's apt uses already
#
# Leaves $WINX/bin/cargo-win (check, clippy, build, test, run) and $WINX/bin/wine-run.
set -euo pipefail

target=x86_64-pc-windows-gnu
WINX=${WINX:-/opt/winx}
mode=${WINX_MODE:-auto}
export DEBIAN_FRONTEND=noninteractive
# What is set for the project's own build must not leak into the build of std.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_TARGET CARGO_TARGET_DIR RUSTC RUSTC_WRAPPER

say() { printf '   windows: %s (%ss)\n' "$*" "$SECONDS" >&2; }
die() { printf 'windows: %s\n' "$*" >&2; exit 1; }

find_mirror() {
  [ -n "${WINX_MIRROR:-}" ] && { echo "$WINX_MIRROR"; return; }
  # shellcheck disable=SC2016  # apt's own variables
  apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk '$2 == "bookworm" && !found { print $1; found = 1 }'
}

# --- packages -----------------------------------------------------------------------------

apt_updated=
apt_need() { # installs only what is missing, and updates the lists at most once
  local missing=() package
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
      missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ -z "$apt_updated" ]; then apt-get update -qq || true; apt_updated=1; fi
  say "apt: ${missing[*]}"
  apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" \
    >"$WINX/log/apt.log" 2>&1 || { tail -20 "$WINX/log/apt.log" >&2; return 1; }
}

suite_apt() { # suite_apt SUITE apt-get|apt-cache ARG…: another suite, without touching /etc/apt
  local suite=$1 tool=$2 home=$WINX/apt/$1
  shift 2
  mkdir -p "$home/lists/partial" "$home/cache/archives/partial" "$home/parts"
  cat >"$home/parts/suite.sources" <<E
Types: deb
URIs: $mirror
Suites: $suite
Components: main
Targets: Packages
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
E
  "$tool" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$home/parts" \
    -o Dir::State::Lists="$home/lists" -o Dir::Cache="$home/cache" \
    -o Acquire::Languages=none -o APT::Sandbox::User=root "$@"
}

# --- std for the target -------------------------------------------------------------------

build_std() { # build_std CARGO LIBRARY_DIR DESTINATION…
  local cargo=$1 library=$2 work destination
  shift 2
  work=$(mktemp -d "$WINX/std.XXXXXX")
  mkdir "$work/src"
  : >"$work/src/lib.rs"
  cat >"$work/Cargo.toml" <<'E'
[package]
name = "stdb"
version = "0.0.0"
edition = "2021"
[profile.release]
debug = "line-tables-only"
[workspace]
E
  # Without embedded bitcode a profile that asks for LTO cannot link this std.
  (cd "$work" && RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Cembed-bitcode=yes \
    __CARGO_TESTS_ONLY_SRC_ROOT=$library "$cargo" build --release --target "$target" \
    -Zbuild-std=std,panic_unwind,panic_abort,test,proc_macro) >"$WINX/log/std.log" 2>&1 ||
    { tail -30 "$WINX/log/std.log" >&2; rm -rf "$work"; return 1; }
  for destination; do
    rm -rf "$destination.new"
    mkdir -p "$destination.new"
    cp "$work/target/$target/release/deps/"lib*.rlib "$destination.new/"
    rm -f "$destination.new"/libstdb-*
    echo "$stamp" >"$destination.new/.winx-stamp"
    rm -rf "$destination"
    mv "$destination.new" "$destination"
  done
  rm -rf "$work"
}

have_std() { # built here for this very compiler, or rustup's own component
  ls "$1"/libstd-*.rlib >/dev/null 2>&1 || return 1
  [ -e "$1/../../manifest-rust-std-$target" ] ||
    [ "$(cat "$1/.winx-stamp" 2>/dev/null)" = "$stamp" ]
}

fetch_rust_src() { # fetch_rust_src VERSION: into $WINX/src/rustc-VERSION
  local version=$1 suite package= download
  for suite in trixie-backports sid trixie experimental; do
    suite_apt "$suite" apt-get update -qq 2>>"$WINX/log/suites.log" || true
    package=$(suite_apt "$suite" apt-cache madison rust-src |
      awk -v v="$version" -F' *[|] *' '!found && $2 ~ "^" v "[+~-]" { print $2; found = 1 }')
    [ -z "$package" ] || break
  done
  [ -n "$package" ] || { say "no mirror serves rust-src $version"; return 1; }
  say "downloading rust-src $package from $suite"
  download=$(mktemp -d "$WINX/download.XXXXXX")
  (cd "$download" && suite_apt "$suite" apt-get download -qq "rust-src=$package") ||
    { rm -rf "$download"; return 1; }
  dpkg-deb --fsys-tarfile "$download"/rust-src_*.deb |
    tar x -C "$download" --wildcards './usr/src/rustc-*/library' || return 1
  rm -rf "$WINX/src/rustc-$version"
  mkdir -p "$WINX/src"
  mv "$download/usr/src/rustc-$version" "$WINX/src/"
  rm -rf "$download"
}

std_for_rustup() {
  PATH=$HOME/.cargo/bin:$PATH
  command -v rustup >/dev/null 2>&1 || return 1
  local compiler version missing=() toolchain place
  compiler=$(rustc -vV)
  version=$(sed -n 's/^release: //p' <<<"$compiler")
  stamp="winx2 $(sed -n 's/^commit-hash: //p' <<<"$compiler")"
  case $version in *-*) say "the active toolchain $version is not a release"; return 1 ;; esac
  # `stable` and `1.95.0` may be one compiler under two names, each with a folder of its own.
  for toolchain in $(rustup toolchain list | awk '{ print $1 }'); do
    [ "$(rustc "+$toolchain" -vV 2>/dev/null)" = "$compiler" ] || continue
    place=$(realpath -m "$(rustc "+$toolchain" --print sysroot)/lib/rustlib/$target/lib")
    case " ${missing[*]-} " in *" $place "*) continue ;; esac
    have_std "$place" || { missing+=("$place"); mkdir -p "${place%/*}"; }
  done
  if [ ${#missing[@]} -gt 0 ]; then
    [ -e "$WINX/src/rustc-$version/library/std/Cargo.toml" ] || fetch_rust_src "$version" || return 1
    say "building std $version for $target (two minutes or so)"
    build_std cargo "$WINX/src/rustc-$version/library" "${missing[@]}" || return 1
  fi
  mode=rustup
}

std_for_web() {
  apt_need rustc-web cargo-web rust-web-src rust-web-clippy || return 1
  local sysroot place
  sysroot=$(/usr/bin/rustc --print sysroot)
  place=$sysroot/lib/rustlib/$target/lib
  stamp="winx2 $(/usr/bin/rustc -vV | sed -n 's/^commit-hash: //p')"
  stamp+=" $(dpkg-query -W -f '${Version}' rust-web-src)"
  if ! have_std "$place"; then
    say "building std for Debian's rustc-web (two minutes or so)"
    mkdir -p "${place%/*}"
    RUSTC=/usr/bin/rustc build_std /usr/bin/cargo "$sysroot/lib/rustlib/src/rust/library" "$place" ||
      return 1
  fi
  mode=web
}

# --- Wine ---------------------------------------------------------------------------------

make_prng_dll() { # Wine 8 lacks bcryptprimitives.dll, from which std imports ProcessPrng
  [ ! -e "$WINX/bcryptprimitives.dll" ] || return 0
  cat >"$WINX/bcryptprimitives.c" <<'E'
#include <windows.h>
BOOLEAN WINAPI SystemFunction036(PVOID, ULONG); /* RtlGenRandom */
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE out, SIZE_T len) {
    while (len) {
        ULONG part = len > 0x10000000 ? 0x10000000 : (ULONG)len;
        if (!SystemFunction036(out, part)) return FALSE;
        out += part;
        len -= part;
    }
    return TRUE;
}
E
  x86_64-w64-mingw32-gcc -O2 -s -shared -o "$WINX/bcryptprimitives.dll" \
    "$WINX/bcryptprimitives.c" -ladvapi32
}

write_wine_wrapper() {
  # * A runner variable that reached the tests would start Wine inside Wine.
  # * In a C locale Wine cannot create names outside ASCII.
  # * Root's right to override permissions would make the read-only attribute stop nothing.
  rm -f "$WINX/bin/wine-run"
  cat >"$WINX/bin/wine-run" <<E
#!/bin/sh
unset DISPLAY WAYLAND_DISPLAY CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER
export WINEDEBUG=\${WINEDEBUG--all} LC_ALL=C.UTF-8 XDG_RUNTIME_DIR=\${XDG_RUNTIME_DIR:-/tmp}
export WINEDLLOVERRIDES=\${WINEDLLOVERRIDES-mscoree,mshtml,winemenubuilder.exe=}
export WINEPREFIX=\${WINX_PREFIX:-$WINX/prefix}
drop="setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-dac_override,-dac_read_search"
[ "\$(id -u)" = 0 ] || drop=
exec \$drop /usr/lib/wine/wine64 "\$@"
E
  chmod +x "$WINX/bin/wine-run"
}

make_prefix() {
  [ ! -e "$WINX/prefix/.ready" ] || return 0
  rm -rf "$WINX/prefix"
  "$WINX/bin/wine-run" wineboot -i >"$WINX/log/wineboot.log" 2>&1 ||
    { tail "$WINX/log/wineboot.log" >&2; return 1; }
  cp "$WINX/bcryptprimitives.dll" "$WINX/prefix/drive_c/windows/system32/"
  "$WINX/bin/wine-run" reg add 'HKCU\Software\Wine\Drivers' /v Graphics /d null /f \
    >/dev/null 2>&1 || true
  : >"$WINX/prefix/.ready"
}

# --- cargo-win ----------------------------------------------------------------------------

write_cargo_wrapper() {
  local runner=CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER
  {
    echo '#!/bin/sh'
    echo "export CARGO_BUILD_TARGET=$target $runner=\${$runner:-$WINX/bin/wine-run}"
    if [ "$mode" = web ]; then
      echo 'export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc PATH=/usr/bin:$PATH'
      echo 'export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/windows}'
      echo 'exec /usr/bin/cargo "$@"'
    else
      echo 'PATH=$HOME/.cargo/bin:$PATH'
      echo 'export PATH'
      echo 'exec cargo "$@"'
    fi
  } >"$WINX/bin/cargo-win"
  chmod +x "$WINX/bin/cargo-win"
}

smoke_test() { # a program that needs random numbers and unwinding, built and run
  local home=$WINX/smoke said
  mkdir -p "$home/src"
  printf '[package]\nname = "smoke"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n' \
    >"$home/Cargo.toml"
  cat >"$home/src/main.rs" <<'E'
fn main() {
    let map = std::collections::HashMap::<u8, u8>::new();
    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
    println!("{} {}", std::env::consts::OS, map.len());
}
E
  said=$(cd "$home" && rm -rf target && "$WINX/bin/cargo-win" run -q 2>/dev/null | tr -d '\r')
  [ "$said" = 'windows 0' ] || die "the smoke test said '$said', expected 'windows 0'"
}

[ "$(id -u)" = 0 ] || die 'setting this up needs root'
mkdir -p "$WINX/bin" "$WINX/log"
exec 9>"$WINX/lock"
flock 9
mirror=$(find_mirror)
[ -n "$mirror" ] || die 'no Debian mirror in the sources of apt: set WINX_MIRROR'
apt_need gcc libc6-dev gcc-mingw-w64-x86-64-posix binutils-mingw-w64-x86-64 ca-certificates \
  wine64 util-linux
case $mode in
  auto) std_for_rustup || std_for_web || die 'std for Windows is not to be had' ;;
  rustup) std_for_rustup || die 'std for Windows is not to be had' ;;
  web) std_for_web || die 'std for Windows is not to be had' ;;
  *) die "WINX_MODE is '$mode', expected auto, rustup or web" ;;
esac
make_prng_dll
write_wine_wrapper
make_prefix
write_cargo_wrapper
smoke_test
say "ready: $WINX/bin/cargo-win (std by way of $mode)"
