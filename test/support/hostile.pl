#!/usr/bin/perl
# The application's own user, turned against root: swaps the entries of both volumes for links to files outside, for
# FIFOs, hard links and directories, in a loop, until it is ended. Run as an unprivileged user.
#   hostile.pl OUTSIDE DIRECTORY…
use strict;
use warnings;
use POSIX ();

my ($outside, @roots) = @ARGV;
my $EXCHANGE = 2;
my ($renameat2, $AT_FDCWD) = ({ x86_64 => 316, aarch64 => 276 }->{ (POSIX::uname())[4] }, -100);
my $count = 0;
$SIG{TERM} = sub { print "$count\n"; exit 0 };

# Swaps two names at once: neither is missing at any moment.
sub exchange { my ($one, $two) = @_; $count++ if syscall($renameat2, $AT_FDCWD, "$one", $AT_FDCWD, "$two", $EXCHANGE) == 0; return }

sub write_file {
    my ($path, $text) = @_;
    open my $file, '>', $path or return;
    print {$file} $text;
    close $file;
    return;
}

# The files that a name is swapped with, beside each entry of ours.
for my $root (@roots) {
    my $store = "$root/.hostile";
    mkdir $store;
    symlink $outside, "$store/directory";
    symlink "$outside/secret", "$store/file";
    POSIX::mkfifo("$store/fifo", 0644);
    mkdir "$store/real";
}
while (1) {
    for my $root (@roots) {
        my $store = "$root/.hostile";
        for my $directory (grep { !m{/\.hostile\z} } glob "$root/*/") {
            $directory =~ s{/\z}{};
            exchange($directory, "$store/directory");
            select undef, undef, undef, rand() * 0.002;
            exchange($directory, "$store/directory");
        }
        for my $name (qw(mail/secret mail/data.sqlite .lsyncd-monitor-probe top), map { "mail/$_" } 1 .. 5) {
            my $path = "$root/$name";
            my $with = ("$store/file", "$store/fifo", "$store/real")[ rand 3 ];
            if (!lstat $path) {
                symlink "$outside/secret", $path and $count++ if $name =~ /probe/ && rand() < 0.5;
                next;
            }
            if (rand() < 0.1) { link $path, "$store/hard$count"; unlink "$store/hard$count" }
            exchange($path, $with);
            select undef, undef, undef, rand() * 0.001 if rand() < 0.2;
            exchange($path, $with);
            write_file($path, "mine $count\n") if rand() < 0.2 && -f $path && !-l $path;
        }
    }
}
