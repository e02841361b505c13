#!/bin/bash
# Measures which ordinary files survive a power cut with which options of rsync, and what protecting them would cost. Needs root, mkfs.ext4, mkfs.xfs and
# mkfs.btrfs; makes file systems in a temporary directory and takes four minutes.
#
#   sudo tools/torture/power-cut.sh
#
# 100 files are new and 100 replace others of the same size. Then the kernel gets as long as it takes to bring names, sizes and times to the
# disk (the file system's own commit), which is less than it takes for contents, and the disk is copied: the copy is the disk after a cut.
set -eu

folder=$(mktemp -d)
cleanup() {
  umount -l "$folder"/*/mirror 2>/dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT

# Prints for new and replaced files how many are right, have another size or are missing (rsync sees that), or have size and time of the
# source and another content (rsync does not).
count() { # source mirror
  python3 - "$1" "$2" <<'P'
import collections, os, sys
source, mirror = sys.argv[1:]
for kind in ("new", "replaced"):
    found = collections.Counter()
    for name in os.listdir(os.path.join(source, kind)):
        one, other = (os.path.join(root, kind, name) for root in (source, mirror))
        if not os.path.exists(other):
            found["missing or of another size or time"] += 1
            continue
        a, b = (open(path, "rb").read() for path in (one, other))
        same = len(a) == len(b) and os.stat(one).st_mtime_ns == os.stat(other).st_mtime_ns
        what = "right" if a == b else "missing or of another size or time" if not same else "zeros" if not b.strip(b"\0") else "old or mixed"
        found[what] += 1
    print("  %-8s %s" % (kind, ", ".join("%d %s" % (found[k], k) for k in sorted(found))))
P
}

cut() { # file-system mount-options seconds rsync-options…
  local fs=$1 mount=$2 seconds=$3 here
  shift 3
  here=$(mktemp -d "$folder/XXXXXX")
  (
    cd "$here"
    mkdir -p source/new source/replaced mirror
    for i in {1..100}; do for kind in new replaced; do head -c $((3000 + RANDOM)) /dev/urandom >"source/$kind/$i"; done; done
    truncate -s 400M disk
    "mkfs.$fs" -q disk >/dev/null 2>&1
    mount -o "loop,$mount" disk mirror
    mkdir mirror/replaced
    for i in {1..100}; do
      head -c "$(stat -c %s "source/replaced/$i")" /dev/zero | tr '\0' o >"mirror/replaced/$i"
      touch -d 2001-01-01 "mirror/replaced/$i"
    done
    sync -f mirror
    rsync -a "$@" source/ mirror/
    sleep "$seconds"
    cp --sparse=always disk after
    umount mirror
    mount -o "loop,$mount" after mirror
    printf '%s %s: rsync -a %s\n%s\n' "$fs" "$mount" "$*" "$(count source mirror)"
    umount mirror
  )
  rm -rf "$here"
}

# Bytes and flushes that reached the disk for 1,000 small files, and the time relative to the first line.
cost() {
  local here=$folder/cost dev first='' how before after began ended
  mkdir -p "$here/source" "$here/mirror"
  for i in {1..1000}; do head -c 4000 /dev/urandom >"$here/source/$i"; done
  for how in 'rsync -a' 'rsync -a, one syncfs' 'rsync -a --fsync'; do
    truncate -s 400M "$here/disk"
    mkfs.ext4 -q "$here/disk"
    mount -o loop "$here/disk" "$here/mirror"
    dev=$(findmnt -no SOURCE "$here/mirror")
    sync -f "$here/mirror"
    read -r -a before <"/sys/class/block/${dev#/dev/}/stat"
    began=$(date +%s%N)
    # shellcheck disable=SC2046 # the option, if there is one
    rsync -a $([[ $how != *--fsync ]] || echo --fsync) "$here/source/" "$here/mirror/"
    [[ $how != *syncfs ]] || sync -f "$here/mirror"
    ended=$(date +%s%N)
    sync -f "$here/mirror"
    read -r -a after <"/sys/class/block/${dev#/dev/}/stat"
    first=${first:-$((ended - began))}
    # Fields: Documentation/block/stat.rst in Linux.
    printf '%-22s %4d MB in %5d writes, %4d flushes, %d.%d times as long\n' "$how" $(((after[6] - before[6]) / 2048)) \
      $((after[4] - before[4])) $((after[15] - before[15])) $(((ended - began) / first)) $(((ended - began) * 10 / first % 10))
    umount "$here/mirror"
    rm "$here/disk"
  done
}

cut ext4 commit=5 7
cut ext4 commit=5 7 --inplace
cut ext4 commit=5 7 --inplace --no-whole-file
cut ext4 commit=5 7 --preallocate
cut ext4 commit=5 7 --sparse
cut ext4 commit=5,noauto_da_alloc 7
cut ext4 commit=5 7 --fsync
cut xfs nouuid 33
cut xfs nouuid 33 --inplace --no-whole-file
cut btrfs commit=5 7
cut btrfs commit=5 7 --inplace --no-whole-file
cost
