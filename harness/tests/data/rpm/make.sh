#!/bin/sh
# Makes the packages of this folder: a kernel of a few bytes, signed by key.asc, unsigned, and signed by another key.
# make.sh FOLDER; requires python3, rpm and gnupg.
set -eu
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
release=6.1.5-1.el9.x86_64
modules=$work/root/usr/lib/modules/$release
mkdir -p "$modules/kernel/net"
python3 - "$release" "$modules/vmlinuz" <<'EOF'
import sys
release = sys.argv[1].encode()
image = bytearray(0x400)
image[0x202:0x206] = b"HdrS"
image[0x20e:0x210] = (0x100).to_bytes(2, "little")
image[0x300:0x300 + len(release)] = release
image += release * 100
open(sys.argv[2], "wb").write(image)
EOF
echo CONFIG_BPF=y >"$modules/config"
head -c 1000 /dev/zero >"$modules/kernel/net/veth.ko"
cat >"$work/kernel.spec" <<EOF
Name: kernel
Version: 6.1.5
Release: 1.el9
Summary: test
License: GPL-2.0
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _binary_payload w9.zstdio
%description
test
%package core
Summary: image
%description core
test
%install
cp -r $work/root/. %{buildroot}
%files core
/usr/lib/modules/$release
EOF
rpmbuild -bb --quiet --define "_topdir $work/build" --define "_rpmdir $work" \
    --define '_build_name_fmt unsigned.rpm' --target x86_64 "$work/kernel.spec" 2>/dev/null
cp "$work/unsigned.rpm" unsigned.rpm
for name in signed other; do
    ../archives/key.sh "$work/gnupg" $name >/dev/null 2>&1
    cp unsigned.rpm $name.rpm
    GNUPGHOME=$work/gnupg rpmsign --define "__gpg $(command -v gpg)" --define "_gpg_name $name@example.org" \
        --addsign $name.rpm >/dev/null 2>&1
done
cp "$work/gnupg/signed.asc" key.asc
