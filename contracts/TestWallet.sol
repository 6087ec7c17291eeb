// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// A wallet that is a contract (ERC-1271), for tests: it accepts its owner's signature behind one mark byte,
/// so that its signatures can be told from those of an ordinary wallet.
contract TestWallet {
    address public owner;

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 66 || signature[0] != 0x01) return 0xffffffff;
        bytes32 r = bytes32(signature[1:33]);
        bytes32 s = bytes32(signature[33:65]);
        bool valid = ecrecover(digest, uint8(signature[65]), r, s) == owner;
        return valid ? this.isValidSignature.selector : bytes4(0xffffffff);
    }
}
