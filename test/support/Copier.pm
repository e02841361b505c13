# For tests: all functions of the copier's modules in the caller, and a way to replace one of them in all modules. With names of modules:
# only these, and those that they load.
#
#   perl -I templates/usr/local/lib/lsyncd-as-code -I test/support -MCopier -e 'print now_ns()'
package Copier;
use strict;
use warnings;

require LsyncdAsCode::System;
my @MODULES = map { m{/(\w+)\.pm\z} } glob $INC{'LsyncdAsCode/System.pm'} =~ s{\w+\.pm\z}{*.pm}r;

sub import {
    my (undef, @only) = @_;
    my $caller = caller;
    for my $module (@only ? @only : @MODULES) {
        require "LsyncdAsCode/$module.pm";
        no strict 'refs';
        # A test has functions of its own by these names.
        defined &{"${caller}::$_"} or "LsyncdAsCode::$module"->can($_) and *{"${caller}::$_"} = "LsyncdAsCode::$module"->can($_) for @{"LsyncdAsCode::${module}::EXPORT_OK"};
    }
    no strict 'refs';
    *{"${caller}::$_"} = \&{$_} for qw(replace directory options);
    return;
}

# Calls $new instead of a function, wherever it is called; its first argument is the original.
sub replace {
    my ($name, $new) = @_;
    no strict 'refs';
    no warnings 'redefine';
    my ($original) = map { "LsyncdAsCode::$_"->can($name) // () } @MODULES;
    die "no module has $name\n" unless $original;
    my $instead = sub { return $new->($original, @_) };
    for my $module (@MODULES) {
        my $found = "LsyncdAsCode::$module"->can($name) or next;
        *{"LsyncdAsCode::${module}::$name"} = $instead if $found == $original;
    }
    return;
}

sub directory { my ($path) = @_; return scalar LsyncdAsCode::Beneath::open_beneath($path, '') }

# The options of sync_unit that suit most tests.
sub options { return { lock_seconds => 2, big => 32 << 20, reserve => 0, whole => 1, run => 'this', owner => 0, group => 0, perms => 0, @_ } }

1;
