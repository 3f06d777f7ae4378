#!/usr/bin/env bash
# The library on other platforms, from Linux on x86_64 (docs/platforms.md says what came out).
#
#   tests/platforms/run.sh check [TARGET...]    whether the library compiles there; default: all targets below
#   tests/platforms/run.sh i686 [ARGUMENT...]   its tests on a 32-bit platform, run by this machine itself
#   tests/platforms/run.sh s390x [ARGUMENT...]  its tests on a big-endian platform, under qemu
#   tests/platforms/run.sh windows [ARGUMENT...]  its tests on Windows, under wine
#   tests/platforms/run.sh short                what takes three minutes
#
# ARGUMENTs are cargo test's: `--lib`, `--test misuse`. Needs, from Debian, rustc-web, cargo-web and rust-web-src (the
# standard library is compiled for each target), and for the tests of a platform its C compiler and what runs its
# programs, which are installed. Another target directory than target/platforms: CARGO_TARGET_DIR.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target/platforms}
export RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
cargo=/usr/bin/cargo

targets=(x86_64-pc-windows-gnu x86_64-apple-darwin aarch64-apple-darwin x86_64-unknown-freebsd aarch64-linux-android
    wasm32-wasip1 i686-unknown-linux-gnu)

need() { # Debian's packages
    dpkg -s "$@" >/dev/null 2>&1 && return
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

check() {
    local target
    for target in "$@"; do
        echo "== check $target"
        [ "$target" != x86_64-pc-windows-gnu ] || need binutils-mingw-w64-x86-64 # for dlltool
        $cargo check --quiet --locked -p conncache --lib -Zbuild-std=std,panic_unwind --target "$target"
    done
}

tests() { # TARGET ARGUMENT...
    local target=$1
    echo "== tests on $*"
    $cargo test --locked -p conncache -Zbuild-std=std,panic_unwind,test --target "$target" "${@:2}"
}

i686() {
    need gcc-i686-linux-gnu libc6-dev-i386-cross
    local lib=/usr/i686-linux-gnu/lib
    CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER=i686-linux-gnu-gcc \
        CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_RUNNER="$lib/ld-linux.so.2 --library-path $lib" \
        tests i686-unknown-linux-gnu "$@"
}

s390x() {
    need gcc-s390x-linux-gnu libc6-dev-s390x-cross qemu-user-static
    CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc \
        CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER="qemu-s390x-static -L /usr/s390x-linux-gnu" \
        tests s390x-unknown-linux-gnu "$@"
}

# wine 8 has no bcryptprimitives.dll, which Rust's standard library asks for random numbers.
shim() {
    mkdir -p "$CARGO_TARGET_DIR/shim"
    cat > "$CARGO_TARGET_DIR/shim/shim.c" <<'C'
#include <windows.h>
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);
__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE buffer, SIZE_T length) {
    return SystemFunction036(buffer, (ULONG)length);
}
C
    x86_64-w64-mingw32-gcc -shared -o "$CARGO_TARGET_DIR/shim/bcryptprimitives.dll" "$CARGO_TARGET_DIR/shim/shim.c" \
        -ladvapi32
}

windows() {
    need gcc-mingw-w64-x86-64-posix wine64 wine
    shim
    WINEPATH="Z:${CARGO_TARGET_DIR//\//\\}\\shim" WINEDEBUG=-all WINEPREFIX=$CARGO_TARGET_DIR/wine \
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc \
        CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine \
        tests x86_64-pc-windows-gnu "$@"
}

need rustc-web cargo-web rust-web-src
case ${1:-} in
    check) shift; [ $# -gt 0 ] || set -- "${targets[@]}"; check "$@" ;;
    i686 | s390x | windows) "$@" ;;
    short) check x86_64-pc-windows-gnu; i686 --lib --test misuse ;;
    *) sed -n '2,/^set /{/^#/p}' "$0" >&2; exit 2 ;;
esac
