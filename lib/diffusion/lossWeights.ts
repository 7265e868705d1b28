import type { NoiseSchedule } from './schedule.js';
import type { DirectPrediction } from './tables.js';

/**
 * The min-SNR weights of the squared error, [T] (Hang et al. 2023, arXiv 2303.09556): with snr = ᾱ/(1-ᾱ), min(snr, γ)/snr of ε,
 * min(snr, γ) of x_0, min(snr, γ)/(snr + 1) of v.
 */
export function minSnrWeights(schedule: NoiseSchedule, prediction: DirectPrediction, gamma: number): Float64Array {
  return schedule.alphasCumprod.map((alphaBar) => {
    const snr = alphaBar / (1 - alphaBar);
    // min(snr, γ)/snr, which at snr = 0 is 1
    const ofNoise = Math.min(1, gamma / snr);
    return { epsilon: ofNoise, sample: Math.min(snr, gamma), v: Math.min(snr, gamma) / (snr + 1) }[prediction];
  });
}
