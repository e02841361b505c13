# shellcheck shell=bash
# Whether the mirror is in use in the primary's place: the state of a failover, kept on the root disk and on the volumes
# themselves. A root disk that is restored from a backup forgets; a volume that is taken elsewhere remembers.
#
#   mirroring   no failover
#   done        the failover has ended, lsyncd has not been started yet: the next `lsyncd-failover end` does no more than that
#   in-use      the mirror is in use in the primary's place
#   restoring   the mirror is being copied over the source, which is half of a copy until that is complete
#
# A source whose restore was abandoned says `half`, which is as strict as `in-use`.
# They are in the order of strictness: where the records differ, the last of them counts. On a volume the record is an
# extended attribute of its root directory, `security.lsyncd-as-code`: one only root can write, no matter who owns the
# directory; it has no name in the tree that a copy could carry elsewhere, and takes no block of a full disk.
#
# A library of the host's programs, and a part of the scripts that are sent to a host.

FAILOVER_STATES=(mirroring 'done' in-use restoring)

# Reads (or, with a text, writes) the record of the volume mounted at a path. Fails when it cannot be written or read; on
# a file system without extended attributes there is none, and writing one returns 3. The numbers are those of fsetxattr(2) and fgetxattr(2).
# shellcheck disable=SC2016 # Perl's
volume_record() { # path [text]
  timeout 8 perl -MErrno=ENODATA,EOPNOTSUPP -MFcntl -MIO::Handle -MPOSIX=uname -e '
    my ($path, $text) = @ARGV;
    my ($set, $get) = @{ { x86_64 => [190, 193], aarch64 => [7, 10] }->{ (uname())[4] } // die "unknown machine\n" };
    my $name = "security.lsyncd-as-code";
    sysopen my $root, $path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW or die "cannot open $path: $!\n";
    if (defined $text) {
      syscall($set, fileno $root, $name, $text, length $text, 0) == 0 or do {
        exit 3 if $! == EOPNOTSUPP;
        die "cannot record the failover on $path: $!\n";
      };
      $root->sync or die "cannot record the failover on $path: $!\n";
      exit;
    }
    my $buffer = "\0" x 256;
    my $length = syscall($get, fileno $root, $name, $buffer, 255);
    die "cannot read the record of $path: $!\n" if $length < 0 && $! != ENODATA && $! != EOPNOTSUPP;
    print substr($buffer, 0, $length), "\n" if $length > 0;' -- "$@"
}

# The place of a state in the order; what is not known is as strict as `in-use`.
failover_rank() { # state
  local rank
  for rank in "${!FAILOVER_STATES[@]}"; do
    if [ "${FAILOVER_STATES[rank]}" = "$1" ]; then
      printf '%s' "$rank"
      return
    fi
  done
  printf 2
}

# The state that the root disk remembers. The file exists during a failover, and a line of it names the state; without
# that line the mirror is in use (an earlier version wrote none, and a full disk may have had room for none).
root_state() { # file
  local state
  if [ ! -e "$1" ]; then
    echo mirroring
    return
  fi
  state=$(sed -n 's/^state //p' "$1" 2>/dev/null | head -n 1)
  echo "${state:-in-use}"
}

# Records of volumes that the caller has read already, by path.
declare -gA volume_records=()

# The state that a volume remembers. One that cannot be asked (not there, hangs) knows of nothing.
volume_state() { # path
  local record
  record=$(volume_record "$1" 2>/dev/null) || record=
  local state
  record_state "$record"
  echo "$state"
}

# Sets state to what a record says.
record_state() { # record
  state=${1%% *}
  state=${state:-mirroring}
}

# Sets failover_state to the strictest state that anything remembers, and failover_keeper to what remembers it: the
# file on the root disk, or the path of a volume.
read_failover() { # file source target
  local place state rank strictest=0
  failover_state=mirroring failover_keeper=$1
  for place in "$@"; do
    if [ "$place" != "$1" ]; then
      if [ -n "${volume_records[$place]+set}" ]; then record_state "${volume_records[$place]}"; else state=$(volume_state "$place"); fi
    elif [ -e "$place" ]; then
      state=$(root_state "$place")
    else
      state=mirroring
    fi
    # Where nothing is remembered no process is started.
    [ "$state" != mirroring ] || continue
    rank=$(failover_rank "$state")
    if [ "$rank" -gt "$strictest" ]; then
      strictest=$rank failover_state=${FAILOVER_STATES[rank]} failover_keeper=$place
    fi
  done
}

# Since when, and the reason given at `begin`.
failover_since() { # file
  local since
  since=$(head -n 1 "$1" 2>/dev/null)
  [ "$failover_keeper" = "$1" ] || since="${since:+$since; }says the volume at $failover_keeper, and the root disk says less"
  printf '%s' "${since:-no date}"
}

# One sentence on the failover that read_failover has found, for people; nothing when there is none.
failover_sentence() { # file
  local since
  since=$(failover_since "$1")
  case "$failover_state" in
  done) echo "a failover has ended ($since), but lsyncd was not started again: run \`lsyncd-failover end\`" ;;
  in-use) echo "the mirror is in use ($since); end it with \`lsyncd-failover end\`" ;;
  restoring) echo "the mirror is being copied to the source, which is half a copy ($since); complete it with \`lsyncd-failover end --keep target\`" ;;
  esac
}
