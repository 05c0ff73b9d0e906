#!/bin/sh
# Makes an archive laid out as Ubuntu's with the tools that such archives are made with: ubuntu.sh KERNEL OUT GNUPGHOME.
# KERNEL is a folder with vmlinuz, config and lib/modules/RELEASE. The packages are named as Ubuntu's and compressed by
# zstd, as are the modules.
set -eu
kernel=$1 out=$2
export GNUPGHOME="$3"
release=$(ls "$kernel/lib/modules")
abi=6.1.0-99 version=6.1.0-99.99
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

control() { # FOLDER PACKAGE
    mkdir -p "$work/$1/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: Test <test@example.org>\nDescription: test\n' \
        "$2" "$version" >"$work/$1/DEBIAN/control"
}
control image "linux-image-unsigned-$abi-generic"
control modules "linux-modules-$abi-generic"
mkdir -p "$work/image/boot" "$work/modules/boot" "$work/modules/lib"
cp "$kernel/vmlinuz" "$work/image/boot/vmlinuz-$release"
cp "$kernel/config" "$work/modules/boot/config-$release"
cp -r "$kernel/lib/modules" "$work/modules/lib/"
find "$work/modules/lib" -name '*.ko.xz' -exec unxz {} +
find "$work/modules/lib" -name '*.ko' -exec zstd -q --rm -1 {} +

pool=pool/main/l/linux
mkdir -p "$out/$pool"
for package in image modules; do
    dpkg-deb --root-owner-group -Zzstd -z1 --build "$work/$package" "$out/$pool" >/dev/null
done
cd "$out"
for suite in jammy-updates jammy-security; do
    index=dists/$suite/main/binary-amd64
    mkdir -p "$index"
    # The older pocket has no kernel.
    [ $suite = jammy-security ] || apt-ftparchive packages "$pool" >"$index/Packages"
    [ -e "$index/Packages" ] || : >"$index/Packages"
    xz -k "$index/Packages"
    apt-ftparchive -o "APT::FTPArchive::Release::Origin=Ubuntu" -o "APT::FTPArchive::Release::Suite=$suite" \
        -o "APT::FTPArchive::Release::Codename=jammy" release "dists/$suite" >"$work/Release"
    gpg --batch --quiet --clearsign --output "dists/$suite/InRelease" "$work/Release"
done
